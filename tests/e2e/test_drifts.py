"""Somebody lifts the hold: it comes back, and what slipped through is undone."""

import pytest

from tests.e2e.clusters import until
from tests.e2e.lanes import API, Lane, env_of
from tests.e2e.watching import version_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def test_the_hold_comes_back(lane: Lane) -> None:
    lane.hold_and_wait()
    lane.kubectl("rollout", "resume", f"deployment/{API}")
    until("the hold is back", lambda: lane.target()["spec"].get("paused") is True)
    until("somebody is told", lambda: lane.events()["DriftCorrected"] == 1)
    assert lane.status()["phase"] == "Idle"


def test_a_release_that_slipped_through_is_undone_and_then_tried(lane: Lane) -> None:
    stable = lane.hold_and_wait(deadline="120s")
    lane.release("v4-never-ready")
    lane.reach("Warming")
    lane.kubectl("rollout", "resume", f"deployment/{API}")
    until("the operator notices", lambda: lane.events()["DriftCorrected"] >= 1)
    status = lane.reach("Warming", seconds=150, attempt=2)
    assert status["ledger"]["stable"]["version"] == stable
    assert lane.target()["spec"]["paused"] is True
    assert env_of(lane.target(), "BLINGAUTO_RELEASE") == "v4-never-ready", "it gets its turn"
    assert {version_of(pod) for pod in lane.target_pods()} == {stable}
    assert len({_release(pod) for pod in lane.target_pods()}) == 1
    lane.expect_never_fewer()


def _release(pod: dict[str, object]) -> str:
    entries = pod["spec"]["containers"][0]["env"]  # type: ignore[index]
    return next(each["value"] for each in entries if each["name"] == "BLINGAUTO_RELEASE")
