"""Within the window a promoted release is undone onto a cache that is still warm."""

import pytest

from tests.e2e.clusters import until
from tests.e2e.lanes import API, Lane, env_of, owners_of
from tests.e2e.watching import version_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def _promoted(lane: Lane) -> tuple[str, str, set[str]]:
    """A release in its window; gives the stable release and version, and the latter's keys."""
    release = lane.serving_release()
    stable = lane.hold_and_wait(rollbackWindow="100s")
    before = lane.cached_keys()[stable]
    lane.release_next()
    lane.reach("Observing", seconds=200)
    return release, stable, before


def _expect_back(lane: Lane, release: str, stable: str, before: set[str]) -> None:
    new = f"v{int(stable[1:]) + 1}"
    lane.expect_undone(new, stable, seconds=60)
    target = lane.target()
    assert env_of(target, "BLINGAUTO_RELEASE") == release
    assert target["spec"]["paused"] is True
    assert set(owners_of(target)["cacherollout"]["f:spec"]) == {"f:paused"}
    assert {version_of(pod) for pod in lane.target_pods()} == {stable}
    kept = lane.cached_keys()[stable]
    assert len(before & kept) >= 0.8 * len(before), "the roll-back landed on a warm cache"
    lane.expect_never_fewer()
    lane.expect_users_unharmed()


def test_a_promoted_release_is_undone_by_request(lane: Lane) -> None:
    release, stable, before = _promoted(lane)
    assert lane.cacherollout("abort") == 0
    status = lane.reach("RolledBack", seconds=150)
    assert status["ledger"]["rejectedReason"] == "AbortRequested"
    _expect_back(lane, release, stable, before)
    assert lane.cacherollout("status", "-w", "--timeout", "5") == 1

    lane.release(lane.other_release())
    held = lane.reach_reason("Ready", "RejectedRevisionHeld")
    assert "retry" in held["message"]
    assert lane.deployment(f"{API}-canary") is None, "a rejected release is not tried again"


def test_the_stable_template_applied_again_undoes_the_release(lane: Lane) -> None:
    release, stable, before = _promoted(lane)
    lane.release(release)
    until("the release is undone", lambda: lane.events()["Superseded"] == 1)
    lane.reach("Idle", seconds=150)
    _expect_back(lane, release, stable, before)
