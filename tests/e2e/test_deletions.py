"""A CacheRollout that is deleted leaves what was judged, at any moment, and nothing behind."""

import pytest

from tests.e2e.clusters import until
from tests.e2e.lanes import API, READY_SECONDS, Lane, env_of, owners_of
from tests.e2e.watching import version_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.mark.parametrize(
    "phase", ["Idle", "Warming", "Analyzing", "RollingBack", "Promoting", "Observing"]
)
def test_deleting_in_phase(lane: Lane, phase: str) -> None:
    before = lane.serving_release()
    soak = "5s" if phase in ("Promoting", "Observing") else "55s"
    stable = lane.hold_and_wait(soak=soak, rollbackWindow="100s")
    new = f"v{int(stable[1:]) + 1}"
    after, kept, gone = before, stable, new
    if phase == "Warming":
        lane.release("v4-never-ready")
    elif phase != "Idle":
        after = lane.release_next()
    if phase == "RollingBack":
        lane.reach("Analyzing")
        assert lane.cacherollout("abort") == 0
    if phase == "Observing":
        kept, gone = new, stable
    else:
        after = before
    lane.reach(phase, seconds=200)

    lane.kubectl("delete", "cacherollout", API, "--timeout=100s")
    assert not lane.has_canary()
    target = lane.target()
    assert not target["spec"].get("paused")
    assert env_of(target, "BLINGAUTO_RELEASE") == after
    assert "cacherollout" not in owners_of(target)
    until("the target is at rest", lane.is_at_rest, READY_SECONDS)
    assert {version_of(pod) for pod in lane.target_pods()} == {kept}
    keys = lane.cached_keys()
    assert keys[kept]
    assert not keys.get(gone), f"{len(keys[gone])} keys of {gone} are left"
    lane.expect_never_fewer()
