"""A newer release takes the place of the one on trial, which is undone first."""

import pytest

from tests.e2e.clusters import until
from tests.e2e.lanes import Lane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def test_a_newer_release_starts_from_nothing(lane: Lane) -> None:
    release = lane.serving_release()
    stable = lane.hold_and_wait(soak="55s")
    number = int(stable[1:])
    lane.release_next()
    lane.reach("Analyzing")
    lane.release(lane.serving_release(), "EXTRA=1")

    second = lane.reach("Analyzing", seconds=120, attempt=2)
    assert second["target"]["version"] == f"v{number + 2}"
    until("the first one's keys are gone", lambda: f"v{number + 1}" not in lane.cached_keys())
    assert lane.watch.versions == {stable, f"v{number + 1}", f"v{number + 2}"}
    assert lane.cached_keys()[stable]

    lane.release(release, "EXTRA-")
    lane.reach("Idle", seconds=60)
    lane.expect_undone(f"v{number + 2}", stable)
    assert lane.events()["Superseded"] == 2
    lane.expect_never_fewer()


def test_a_release_that_arrives_during_promotion_gets_its_turn(lane: Lane) -> None:
    stable = lane.hold_and_wait()
    number = int(stable[1:])
    lane.release_next()
    lane.reach("Promoting", seconds=120)
    lane.release(lane.serving_release(), "EXTRA=1")
    try:
        second = lane.reach("Succeeded", seconds=260, attempt=2)
        assert second["stable"]["version"] == f"v{number + 2}"
        assert set(lane.cached_keys()) == {f"v{number + 2}"}
        lane.expect_never_fewer()
    finally:
        lane.release_rollouts()
        lane.release(lane.serving_release(), "EXTRA-")
        lane.kubectl("rollout", "status", "deployment/blingauto-api", "--timeout=120s")
