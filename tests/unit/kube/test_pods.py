"""What a pod's status means, in one line."""

from typing import Any

import pytest

from cacherollout.adapters.kube.pods import Side, pod_facts, trouble_of

SIDE = Side(is_canary=True, revision="abc", container="api", env="CACHE_VERSION")


def pod(*containers: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "api-1", "uid": "u1"},
        "spec": {"containers": [{"name": "api"}]},
        "status": {"containerStatuses": list(containers), **status},
    }


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "api", "ready": False, "state": state, **more}


ENDED = {"exitCode": 3, "reason": "Error", "message": "no such\n  table"}
RUNNING = {"name": "api", "ready": True, "state": {"running": {}}}

TROUBLES = {
    "nothing is wrong": (pod(RUNNING), ""),
    "it starts": (pod(waiting("ContainerCreating")), ""),
    "no status yet": ({"metadata": {}, "spec": {}}, ""),
    "its image is missing": (
        pod(waiting("ImagePullBackOff", 'Back-off pulling image "api:2"')),
        'ImagePullBackOff: api: Back-off pulling image "api:2"',
    ),
    "it crashes again and again": (
        pod(waiting("CrashLoopBackOff", "back-off 10s", lastState={"terminated": ENDED})),
        "CrashLoopBackOff: api ended with exit code 3 (Error): no such table",
    ),
    "it has just crashed": (
        pod({"name": "api", "ready": False, "state": {"terminated": ENDED}}),
        "Error: api ended with exit code 3 (Error): no such table",
    ),
    "an init container crashes": (
        pod(
            waiting("PodInitializing"),
            initContainerStatuses=[{"name": "migrate", "state": {"terminated": ENDED}}],
        ),
        "Error: migrate ended with exit code 3 (Error): no such table",
    ),
    "an init container runs": (
        pod(
            waiting("PodInitializing"),
            initContainerStatuses=[{"name": "migrate", "ready": False, "state": {"running": {}}}],
        ),
        "",
    ),
    "its readiness probe fails": (
        pod({"name": "api", "ready": False, "state": {"running": {}}}),
        "NotReady: api runs but its readiness probe does not pass",
    ),
    "no node takes it": (
        pod(
            conditions=[
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/1 nodes are available",
                }
            ]
        ),
        "Unschedulable: 0/1 nodes are available",
    ),
    "it was evicted": (
        pod(phase="Failed", reason="Evicted", message="The node was low on memory."),
        "Evicted: The node was low on memory.",
    ),
}


@pytest.mark.parametrize(("given_pod", "trouble"), TROUBLES.values(), ids=TROUBLES)
def test_the_trouble_is_said_when(given_pod: dict[str, Any], trouble: str) -> None:
    assert trouble_of(given_pod) == trouble


def test_a_trouble_is_bounded() -> None:
    assert len(trouble_of(pod(waiting("ErrImagePull", "x" * 1000)))) == 200


def test_facts_come_from_the_named_container_and_the_conditions() -> None:
    given_pod = pod(
        RUNNING,
        podIP="10.0.0.7",
        conditions=[
            {"type": "Ready", "status": "False"},
            {"type": "ContainersReady", "status": "True"},
            {"type": "cacherollout.io/admitted", "status": "False"},
        ],
    )
    given_pod["spec"]["containers"] = [
        {"name": "proxy", "ports": [{"containerPort": 1}]},
        {
            "name": "api",
            "ports": [{"containerPort": 8000}, {"containerPort": 9000}],
            "env": [{"name": "CACHE_VERSION", "value": "v2"}],
        },
    ]
    facts = pod_facts(given_pod, SIDE)
    assert (facts.ip, facts.version, facts.metrics_port) == ("10.0.0.7", "v2", 8000)
    assert (facts.is_ready, facts.are_containers_ready, facts.is_admitted) == (False, True, False)
    assert not facts.is_terminating


def test_a_pod_from_before_a_renaming_still_says_its_version() -> None:
    given_pod = pod(RUNNING)
    web = {"name": "web", "env": [{"name": "CACHE_VERSION", "value": "v1"}]}
    given_pod["spec"]["containers"] = [{"name": "proxy"}, web]
    assert pod_facts(given_pod, SIDE).version == "v1"
    given_pod["spec"]["containers"] = [{"name": "web", "ports": [{"containerPort": 8000}]}]
    assert pod_facts(given_pod, SIDE).metrics_port == 8000
    given_pod["spec"]["containers"] = [{"name": "proxy"}, {"name": "web"}]
    assert pod_facts(given_pod, SIDE).metrics_port is None


def test_a_pod_of_which_nothing_is_known_yet_has_facts() -> None:
    facts = pod_facts({"metadata": {"name": "a", "uid": "u"}, "spec": {}}, SIDE)
    assert (facts.ip, facts.version, facts.metrics_port, facts.is_ready) == ("", "", None, False)
