"""Each kind of broken release is caught and undone, its keys included."""

from typing import Any

import pytest

from tests.e2e.clusters import until
from tests.e2e.lanes import Lane
from tests.e2e.watching import CANARY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

_USUAL = {
    "cacheErrorRate": {"target": "1%", "alert": "10%"},
    "httpErrorRate": {"target": "1%", "alert": "10%"},
    "cacheLatency": {"p95": "250ms", "alert": "1s"},
}
_ERRORS = _USUAL | {"httpErrorRate": {"target": "0.1%", "alert": "1%"}}
_LATENCY = _USUAL | {"cacheLatency": {"p95": "50ms", "alert": "100ms"}}


@pytest.mark.parametrize(
    ("release", "spec", "reason", "blamed"),
    [
        ("v4-undecodable", {"gates": _USUAL}, "GateFailed", ("cacheErrorRate", "integrity")),
        ("v4-wrong-field", {"gates": _USUAL}, "GateFailed", ("cacheErrorRate", "integrity")),
        ("v4-errors", {"gates": _ERRORS}, "GateFailed", ("httpErrorRate",)),
        ("v4-slow", {"gates": _LATENCY}, "GateFailed", ("cacheLatency",)),
        ("v4-never-ready", {"deadline": "15s"}, "CanaryNotReady", ("canary pods ran",)),
    ],
)
def test_a_broken_release_is_undone(
    lane: Lane, release: str, spec: dict[str, Any], reason: str, blamed: tuple[str, ...]
) -> None:
    stable = lane.hold_and_wait(**spec)
    before = lane.cached_keys()[stable]
    lane.release(release)
    undoing = lane.reach("RollingBack", "RolledBack", seconds=200)
    new = f"v{int(stable[1:]) + 1}"
    assert lane.cacherollout("status", "-w", "--timeout", "60") == 1
    lane.expect_undone(new, stable)

    status = lane.status()
    assert status["ledger"]["rejectedReason"] == reason
    assert any(word in status["message"] for word in blamed), status["message"]
    assert lane.watch.versions <= {stable, new}
    after = lane.cached_keys()[stable]
    assert len(before & after) >= 0.8 * len(before), "the stable version's keys stayed"
    assert lane.target()["spec"]["paused"] is True, "the rejected template stays held"
    assert lane.events()[reason] == 1
    assert lane.events()["RolledBack"] == 1
    lane.expect_never_fewer()
    if undoing and release != "v4-never-ready":
        assert lane.watch.canary_endpoint_seen
    else:
        assert not lane.watch.canary_endpoint_seen, "a canary that never was ready took traffic"


def test_an_abort_by_a_person_takes_traffic_off_at_once(lane: Lane) -> None:
    stable = lane.hold_and_wait(soak="50s")
    lane.release_next()
    lane.reach("Analyzing")
    until("the canary takes traffic", lambda: lane.watch.has_canary_endpoint)
    assert any(CANARY in pod["metadata"]["labels"] for pod in lane.pods())
    assert lane.cacherollout("abort") == 0
    status = lane.reach("RolledBack", seconds=60)
    assert status["ledger"]["rejectedReason"] == "AbortRequested"
    lane.expect_undone(f"v{int(stable[1:]) + 1}", stable)
    assert lane.cacherollout("promote") == 0, "the request is taken, and refused with an event"
    until("the refusal is said", lambda: lane.events()["RequestRefused"] == 1)
    assert lane.cacherollout("pause") == 0
    assert lane.cacherollout("retry") == 0
    waiting = lane.reach_reason("Ready", "PausedByRequest")
    assert waiting["status"] == "False"
    assert lane.cacherollout("resume") == 0
    again = lane.reach("Warming", "Analyzing", attempt=2)
    assert again["target"]["version"] == f"v{int(stable[1:]) + 2}", "a version is never used twice"
