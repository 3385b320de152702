"""The operator dies without a word at any moment, and its successor goes on from there."""

import pytest

from tests.e2e.clusters import until
from tests.e2e.lanes import Lane
from tests.e2e.watching import version_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(500)]

TAKEOVER_SECONDS = 60.0


def _kill_leader(lane: Lane) -> None:
    """End the working replica at once; the one that stood by takes its place."""
    leader = lane.leader()
    standing_by = {pod["metadata"]["name"] for pod in lane.operators()} - {leader}
    lane.kill_operators(leader)
    until("the other takes over", lambda: lane.leader() in standing_by, TAKEOVER_SECONDS)
    until("there are two again", lambda: len(lane.operators()) == 2)


def test_a_release_survives_the_loss_of_its_operator_in_every_phase(lane: Lane) -> None:
    release = lane.serving_release()
    stable = lane.hold_and_wait(soak="30s", rollbackWindow="120s", deadline="120s")
    new = f"v{int(stable[1:]) + 1}"
    lane.release_next()
    lane.reach("Warming")
    _kill_leader(lane)
    lane.reach("Analyzing")
    assert lane.status()["attempt"] == 1
    _kill_leader(lane)
    lane.reach("Promoting", seconds=120)
    _kill_leader(lane)
    lane.reach("Observing", seconds=200)
    assert lane.status()["attempt"] == 1, "one attempt, whoever worked on it"
    _kill_leader(lane)
    assert lane.cacherollout("abort") == 0
    lane.reach("RollingBack")
    _kill_leader(lane)
    status = lane.reach("RolledBack", seconds=200)
    assert status["ledger"]["rejectedReason"] == "AbortRequested"
    lane.expect_undone(new, stable, seconds=60)
    assert lane.serving_release() == release
    assert {version_of(pod) for pod in lane.target_pods()} == {stable}
    assert lane.cached_keys()[stable]
    lane.expect_never_fewer()
    events = lane.events()
    for reason in ("Adopted", "ReleaseFound", "PromotionStarted", "Promoted", "RolledBack"):
        assert 1 <= events[reason] <= 2, f"at most once a life: {events}"


def test_both_replicas_lost_at_once(lane: Lane) -> None:
    stable = lane.hold_and_wait(soak="5s", rollbackWindow="5s")
    lane.release_next()
    lane.reach("Analyzing")
    dead = {pod["metadata"]["name"] for pod in lane.operators()}
    lane.kill_operators(*dead)
    until("a new one works", lambda: lane.leader() not in dead, TAKEOVER_SECONDS)
    lane.reach("Succeeded", seconds=200)
    assert set(lane.cached_keys()) == {f"v{int(stable[1:]) + 1}"}
    lane.expect_never_fewer()
