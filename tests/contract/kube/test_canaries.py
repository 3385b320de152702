"""The canary Deployment, and the gates that decide which of its pods take traffic."""

import json
from typing import Any

import pytest

from cacherollout.adapters.kube.resources import DEPLOYMENTS, Resource
from cacherollout.api import names
from cacherollout.core.actions import ApplyCanary, DeleteCanary, KeepSnapshot, SetAdmission
from cacherollout.core.facts import CanaryFacts, Observed
from cacherollout.ports.errors import ConflictError, DependencyError
from tests.contract.kube.conftest import Team, deployment, eventually
from tests.contract.kube.test_holds import hold, target_of

SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")


async def start(team: Team, replicas: int = 2) -> ApplyCanary:
    """A held target, a release in its template, and the canary of that release with its pods."""
    team.apply(deployment())
    await team.settled()
    await hold(team)
    team.apply(deployment(env={"MODE": "new"}))
    revision = target_of(await team.observe()).revision
    await team.act(KeepSnapshot(revision))
    action = ApplyCanary(revision, "v2", attempt=3, replicas=replicas)
    await team.act(action)
    await team.until(
        lambda seen: (
            len(seen.canary_pods()) == replicas
            and all(pod.are_containers_ready for pod in seen.canary_pods())
        )
    )
    return action


def canary_of(seen: Observed) -> CanaryFacts:
    assert seen.canary is not None
    return seen.canary


async def test_a_canary_runs_the_release_without_taking_traffic(team: Team) -> None:
    action = await start(team)
    seen = await team.observe()
    canary = canary_of(seen)
    assert canary.is_ours
    assert (canary.attempt, canary.revision, canary.version, canary.replicas) == (
        3,
        action.revision,
        "v2",
        2,
    )
    for pod in seen.canary_pods():
        assert (pod.version, pod.revision, pod.metrics_port) == ("v2", action.revision, 8000)
        assert (pod.is_admitted, pod.is_ready, pod.trouble) == (False, False, "")
    # Its labels do not make it the target's.
    assert [pod.version for pod in seen.target_pods()] == [""]
    assert target_of(seen).ready == 1


async def test_a_service_sends_traffic_to_admitted_pods_only(team: Team) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "api"},
        "spec": {"selector": {"app": "api"}, "ports": [{"port": 8000}]},
    }
    team.kubectl("apply", "-f", "-", given=service)
    await start(team)
    pods = (await team.observe()).canary_pods()
    first, second = (pod.name for pod in pods)

    async def serving() -> set[str]:
        slices = await team.client.select(SLICES, team.namespace)
        endpoints = [each for part in slices for each in part.get("endpoints") or []]
        return {each["targetRef"]["name"] for each in endpoints if each["conditions"]["ready"]}

    stable = {pod.name for pod in (await team.observe()).target_pods()}
    await eventually(serving, lambda seen: seen == stable)
    await team.act(SetAdmission(opened=(first,)))
    await eventually(serving, lambda seen: seen == stable | {first})
    await team.act(SetAdmission(opened=(second,), closed=(first,)))
    await eventually(serving, lambda seen: seen == stable | {second})
    admitted = {pod.name: pod.is_admitted for pod in (await team.observe()).canary_pods()}
    assert admitted == {first: False, second: True}


async def test_setting_the_gates_again_writes_nothing_and_strangers_are_left_alone(
    team: Team,
) -> None:
    await start(team, replicas=1)
    seen = await team.observe()
    (canary,), (stable,) = seen.canary_pods(), seen.target_pods()
    opened = SetAdmission(opened=(canary.name, stable.name, "gone"), closed=("gone-too",))
    await team.act(opened)
    await team.until(lambda seen: seen.canary_pods()[0].is_ready)
    before = {each["metadata"]["resourceVersion"] for each in await team.pods()}
    await team.act(opened)
    assert {each["metadata"]["resourceVersion"] for each in await team.pods()} == before
    assert [pod.is_admitted for pod in (await team.observe()).target_pods()] == [False]


async def test_a_canary_is_resized_and_never_updated_in_place(team: Team) -> None:
    action = await start(team, replicas=1)
    await team.act(ApplyCanary(action.revision, "v2", attempt=3, replicas=2))
    await team.until(lambda seen: len(seen.canary_pods()) == 2)
    live = await team.live("api-canary")
    await team.act(ApplyCanary(action.revision, "v2", attempt=3, replicas=2))
    again = await team.live("api-canary")
    assert again["metadata"]["generation"] == live["metadata"]["generation"]
    with pytest.raises(ConflictError):
        await team.act(ApplyCanary(action.revision, "v3", attempt=4, replicas=2))


async def test_somebody_elses_deployment_of_the_same_name_is_not_adopted(team: Team) -> None:
    team.apply(deployment())
    revision = target_of(await team.settled()).revision
    await team.act(KeepSnapshot(revision))
    team.apply(deployment(name="api-canary"))
    assert not canary_of(await team.observe()).is_ours
    with pytest.raises(DependencyError, match="rename or delete it") as refusal:
        await team.act(ApplyCanary(revision, "v2", attempt=1, replicas=1))
    assert refusal.value.reason == "NameConflict"
    seen = await team.observe()
    assert not any(pod.is_canary for pod in seen.pods)


async def test_a_deleted_canary_is_waited_for_until_its_last_pod_is_gone(team: Team) -> None:
    await start(team, replicas=1)
    uid = canary_of(await team.observe()).uid
    with pytest.raises(ConflictError):
        await team.act(DeleteCanary("11111111-1111-1111-1111-111111111111"))
    (pod,) = (await team.observe()).canary_pods()
    patch = [{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/slow"]}]
    team.kubectl("patch", "pod", pod.name, "--type=json", "-p", json.dumps(patch))
    await team.act(DeleteCanary(uid))
    await team.act(DeleteCanary(uid))
    seen = await team.until(
        lambda seen: seen.canary is None and all(each.is_terminating for each in lingering(seen))
    )
    assert [each.uid for each in lingering(seen)] == [pod.uid]
    assert seen.canary_pods() == ()
    team.kubectl("patch", "pod", pod.name, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
    await team.until(lambda seen: not lingering(seen))


def lingering(seen: Observed) -> list[Any]:
    return [pod for pod in seen.pods if pod.is_canary]


async def test_a_canary_that_cannot_start_says_why(team: Team) -> None:
    team.apply(deployment())
    await team.settled()
    await hold(team)
    team.apply(deployment(image="docker.io/cacherollout/nowhere:none"))
    revision = target_of(await team.observe()).revision
    await team.act(KeepSnapshot(revision))
    await team.act(ApplyCanary(revision, "v2", attempt=1, replicas=1))
    seen = await team.until(lambda seen: any(pod.trouble for pod in seen.canary_pods()))
    assert seen.canary_pods()[0].trouble.startswith("ErrImageNeverPull: api: ")


async def test_a_canary_of_a_release_that_restarted_carries_no_restart_mark(team: Team) -> None:
    manifest = deployment()
    manifest["spec"]["template"]["metadata"]["annotations"] = {names.RESTARTED_AT: "x", "a": "b"}
    team.apply(manifest)
    revision = target_of(await team.settled()).revision
    await team.act(KeepSnapshot(revision))
    await team.act(ApplyCanary(revision, "v2", attempt=1, replicas=0))
    canary = await team.client.get(DEPLOYMENTS, team.namespace, "api-canary")
    assert canary is not None
    assert canary["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
