"""Rollouts side by side: one Deployment has one holder, and a broken object stops nobody else."""

import pytest

from tests.e2e.clusters import until
from tests.e2e.lanes import API, Lane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def test_the_older_of_two_rollouts_holds_the_deployment(lane: Lane) -> None:
    lane.hold_and_wait()
    lane.hold("second")
    stalled = lane.reach_reason("Stalled", "TargetConflict", "second")
    assert API in stalled["message"]
    lane.release_next()
    lane.reach("Warming", "Analyzing")
    assert lane.status("second")["phase"] == "Pending"
    until("its canary is there", lambda: lane.deployment(f"{API}-canary"))
    canaries = lane.kubectl("get", "deployments", "-l", "cacherollout.io/rollout", "-o", "name")
    assert len(canaries.split()) == 1

    lane.kubectl("delete", "cacherollout", API, "--timeout=100s")
    until("the other takes over", lambda: lane.status("second").get("phase") == "Idle", 90)
    until("it holds", lambda: lane.target()["spec"].get("paused"))


def test_objects_that_cannot_be_read_do_not_stop_the_others(lane: Lane) -> None:
    # What the API server cannot compare, shares of pods, is refused by the operator.
    lane.hold(
        "unfit", targetRef={"name": "absent"}, canary={"replicas": "60%", "maxReplicas": "5%"}
    )
    stalled = lane.reach_reason("Stalled", "InvalidSpec", "unfit")
    assert "maxReplicas" in stalled["message"]
    # A memory that somebody spoiled.
    lane.hold("spoiled", targetRef={"name": "absent"})
    lane.reach_reason("Ready", "TargetMissing", "spoiled")
    group = "/apis/cacherollout.io/v1alpha1"
    path = f"{group}/namespaces/{lane.namespace}/cacherollouts/spoiled/status"
    lane.cluster.patch_json(path, {"status": {"ledger": {"attempts": "many", "stable": 7}}})
    until(
        "the spoiled one says so",
        lambda: lane.condition("Stalled", "spoiled").get("status") == "True",
    )
    lane.hold_and_wait()
    assert lane.target()["spec"]["paused"] is True
    assert len(lane.operators()) == 2
    restarts = [
        container["restartCount"]
        for pod in lane.operators()
        for container in pod["status"]["containerStatuses"]
    ]
    lane.kubectl("delete", "cacherollout", "unfit", "spoiled", "--timeout=100s")
    assert restarts == [0, 0]
