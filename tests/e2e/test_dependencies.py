"""A cache or a metrics endpoint that fails: held with a reason, neither aborted nor promoted."""

import base64
from typing import Any

import pytest

from tests.e2e.clusters import until
from tests.e2e.lanes import PASSWORD, READY_SECONDS, Lane, backend

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

_BACKENDS = "cachebackend"


def _families(lane: Lane) -> list[dict[str, Any]]:
    return [{"name": "user", "key": "user:{version}:{id}"}]


def _secret(password: str) -> dict[str, Any]:
    encoded = {
        name: base64.b64encode(value.encode()).decode()
        for name, value in (("username", "operator"), ("password", password))
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "another"}, "data": encoded}


def test_a_backend_that_is_missing_and_then_made(lane: Lane) -> None:
    lane.hold(cache={"backendRef": {"name": "absent"}, "families": _families(lane)})
    stalled = lane.reach_reason("Stalled", "BackendMissing")
    assert stalled["status"] == "True"
    assert "absent" in stalled["message"]
    assert not lane.target()["spec"].get("paused"), "nothing is held that could lead nowhere"
    lane.apply(backend("absent"))
    try:
        until("the target is held", lambda: lane.target()["spec"].get("paused"))
    finally:
        lane.kubectl("delete", _BACKENDS, "absent")


def test_a_password_that_is_wrong_and_then_corrected(lane: Lane) -> None:
    lane.apply(_secret("wrong"))
    lane.apply(backend("another", credentialsSecretRef={"name": "another"}))
    try:
        lane.hold(cache={"backendRef": {"name": "another"}, "families": _families(lane)})
        stalled = lane.reach_reason("Stalled", "CacheAccessDenied")
        assert "wrong" not in stalled["message"]
        assert not lane.target()["spec"].get("paused")
        lane.apply(_secret(f"also-{PASSWORD}"))
        lane.reach("Idle")
        log = lane.cluster.run("kubectl", "-n", lane.system, "logs", f"pod/{lane.leader()}")
        assert PASSWORD not in log
    finally:
        lane.kubectl("delete", "secret", "another")
        lane.kubectl("delete", _BACKENDS, "another")


def _scale_redis(lane: Lane, replicas: int) -> None:
    lane.kubectl("scale", "deployment/redis", f"--replicas={replicas}")
    lane.kubectl("rollout", "status", "deployment/redis", "--timeout=90s")


def test_a_cache_that_is_down_before_a_release(lane: Lane) -> None:
    stable = lane.hold_and_wait()
    _scale_redis(lane, 0)
    try:
        lane.release_next()
        lane.reach_reason("Ready", "CacheUnavailable")
        assert lane.status()["phase"] == "Pending"
        assert not lane.has_canary(), "nothing starts without a cache"
        assert lane.target()["spec"]["paused"] is True
    finally:
        _scale_redis(lane, 1)
    status = lane.reach("Warming", "Analyzing", seconds=60)
    assert status["target"]["version"] == f"v{int(stable[1:]) + 1}"


def test_a_cache_that_goes_down_during_a_release(lane: Lane) -> None:
    stable = lane.hold_and_wait(soak="15s", rollbackWindow="5s")
    lane.release_next()
    lane.reach("Analyzing")
    _scale_redis(lane, 0)
    try:
        lane.reach_reason("Reconciling", "CacheUnavailable")
        assert lane.status()["phase"] == "Analyzing", "held, neither aborted nor promoted"
        assert lane.has_canary()
        assert {pod["metadata"]["name"] for pod in lane.target_pods()}
    finally:
        _scale_redis(lane, 1)
    status = lane.reach("Succeeded", "RolledBack", seconds=READY_SECONDS)
    assert status["phase"] == "Succeeded", status["message"]
    assert set(lane.cached_keys()) == {f"v{int(stable[1:]) + 1}"}
    lane.expect_never_fewer()


@pytest.mark.parametrize("metrics", [{"port": 9}, {"path": "/nothing"}], ids=["port", "path"])
def test_metrics_that_are_missing_and_then_found(lane: Lane, metrics: dict[str, Any]) -> None:
    lane.hold_and_wait(metrics={"interval": "1s", **metrics}, soak="55s")
    lane.release_next()
    said = lane.reach_reason("Reconciling", "MetricsUnavailable")["message"]
    assert "metrics.port and metrics.path" in said
    until("somebody is told", lambda: lane.events()["MetricsUnavailable"] == 1)
    assert lane.status()["phase"] == "Warming"
    assert not lane.watch.canary_endpoint_seen, "what cannot be judged takes no traffic"
    lane.hold(soak="55s")
    lane.reach("Analyzing")
