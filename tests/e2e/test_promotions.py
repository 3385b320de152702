"""A healthy release is warmed, judged and promoted, and its predecessor's keys go."""

import time

import pytest

from tests.e2e.lanes import API, Lane, env_of, owners_of
from tests.e2e.watching import version_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def test_a_healthy_release_is_promoted(lane: Lane) -> None:
    stable = lane.hold_and_wait()
    before = lane.cached_keys()[stable]
    released = lane.release_next()

    observing = lane.reach("Observing", seconds=200)
    new = observing["target"]["version"]
    assert new == f"v{int(stable[1:]) + 1}"
    assert {version_of(pod) for pod in lane.target_pods()} == {new}
    kept = lane.cached_keys()[stable]
    assert len(before & kept) >= 0.8 * len(before), "the old version's keys are kept to return to"
    assert lane.watch.versions == {stable, new}

    assert lane.cacherollout("status", "-w", "--timeout", "60") == 0
    assert lane.status()["phase"] == "Succeeded"
    assert not lane.cached_keys().get(stable)
    assert lane.cached_keys()[new]

    target = lane.target()
    assert target["spec"]["paused"] is True
    assert env_of(target, "BLINGAUTO_RELEASE") == released
    assert env_of(target, "CACHE_VERSION") == new
    owned = owners_of(target)["cacherollout"]["f:spec"]
    assert set(owned) == {"f:paused"}, "nobody's next apply is in conflict with the operator"
    assert not lane.has_canary()
    for kind, value in (("Ready", "True"), ("Promoted", "True"), ("Held", "True")):
        assert lane.condition(kind)["status"] == value

    events = lane.events()
    for reason in ("Adopted", "ReleaseFound", "CanaryAdmitted", "PromotionStarted", "Promoted",
                   "Succeeded"):  # fmt: skip
        assert events[reason] == 1, f"{reason} was said {events[reason]} times: {events}"
    lane.expect_never_fewer()
    log = lane.cluster.run("kubectl", "-n", lane.system, "logs", lane.leader())
    assert "forbidden" not in log.lower(), "the chart's rights suffice"
    lane.expect_users_unharmed()


def test_a_steady_state_writes_nothing(lane: Lane) -> None:
    lane.hold_and_wait()
    settled = lane.rollout()["metadata"]["resourceVersion"]
    target = lane.target()["metadata"]["resourceVersion"]
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert lane.rollout()["metadata"]["resourceVersion"] == settled
        assert lane.target()["metadata"]["resourceVersion"] == target
        time.sleep(0.5)
    assert lane.events() == {"Adopted": 1}
    assert lane.deployment(f"{API}-canary") is None
