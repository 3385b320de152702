"""The gateway against servers that misbehave, and as a service account with the chart's rights."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from cacherollout.adapters.kube import Client, KubeRecorder
from cacherollout.adapters.kube.resources import DEPLOYMENTS, PODS, ROLLOUTS
from cacherollout.api.reasons import Reason
from cacherollout.core.actions import (
    AddFinalizer,
    ApplyCanary,
    ApplyTarget,
    DeleteCanary,
    DropSnapshots,
    FreeTarget,
    KeepSnapshot,
    RemoveFinalizer,
    SetAdmission,
)
from cacherollout.core.decisions import Say
from cacherollout.ports.errors import ConflictError, DependencyError
from tests.contract.kube.conftest import ROOT, Team, deployment
from tests.contract.kube.test_holds import hold, target_of
from tests.contract.kube.test_restores import restore

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[Client]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server on loopback that answers everything with one handler."""
    runners: list[web.AppRunner] = []
    clients: list[Client] = []

    async def start(handler: Handler) -> Client:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = Client(
            ApiClient(Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")),
            timeout_seconds=0.3,
        )
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()
    for runner in runners:
        await runner.cleanup()


async def _hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody ends this")


async def _hang_in_the_middle(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b'{"items": [')
    return await _hang(request)


async def _cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _html(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>a proxy's page</html>")


SICK = {
    "does not answer": _hang,
    "stops in the middle": _hang_in_the_middle,
    "cuts the connection": _cut,
    "is somebody else": _html,
}


@pytest.mark.parametrize("handler", SICK.values(), ids=SICK)
async def test_a_server_is_unavailable_when_it(serve: Serve, handler: Handler) -> None:
    client = await serve(handler)
    for call in (
        client.get(DEPLOYMENTS, "shop", "api"),
        client.select(PODS, "shop"),
        client.merge_patch(DEPLOYMENTS, "shop", "api", {}),
    ):
        with pytest.raises(DependencyError) as failed:
            await call
        assert failed.value.reason == Reason.API_UNAVAILABLE


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    client = Client(ApiClient(Configuration(host="http://127.0.0.1:1")))
    with pytest.raises(DependencyError) as failed:
        await client.get(DEPLOYMENTS, "shop", "api")
    assert failed.value.reason == Reason.API_UNAVAILABLE
    await client.close()


async def test_a_busy_server_is_asked_again_when_it_says(serve: Serve) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "slow down"}, status=429, headers={"Retry-After": "9"})

    client = await serve(busy)
    with pytest.raises(DependencyError, match="slow down") as failed:
        await client.get(DEPLOYMENTS, "shop", "api")
    assert failed.value.retry_seconds == 9.0


async def test_a_write_meant_for_an_object_of_another_uid_is_a_conflict(team: Team) -> None:
    team.apply(deployment())
    await team.settled()
    (pod,) = await team.pods()
    metadata = {"uid": "11111111-1111-1111-1111-111111111111"}
    for write in (
        team.client.merge_patch(
            DEPLOYMENTS, team.namespace, "api", {"metadata": metadata, "spec": {"replicas": 0}}
        ),
        team.client.patch_status(
            PODS,
            team.namespace,
            pod["metadata"]["name"],
            {"metadata": metadata, "status": {"message": "x"}},
        ),
        team.client.delete(DEPLOYMENTS, team.namespace, "api", uid=metadata["uid"]),
    ):
        with pytest.raises(ConflictError):
            await write
    assert (await team.live())["spec"]["replicas"] == 1


async def test_a_long_list_is_read_page_by_page(serve: Serve) -> None:
    async def pages(request: web.Request) -> web.StreamResponse:
        start = int(request.query.get("continue", "0"))
        more = {"continue": str(start + 1)} if start < 2 else {}
        return web.json_response({"metadata": more, "items": [{"number": start}]})

    client = await serve(pages)
    assert [each["number"] for each in await client.select(PODS, "shop")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("absent", "Invalid kube-config file", id="is not there"),
        pytest.param("broken", "kubeconfig cannot be used", id="holds no cluster"),
    ],
)
async def test_a_kubeconfig_is_refused_that(tmp_path: Path, path: str, text: str) -> None:
    (tmp_path / "broken").write_text("apiVersion: v1\nkind: Config\n")
    with pytest.raises(DependencyError, match=text):
        await Client.from_kubeconfig(str(tmp_path / path))


async def test_outside_a_pod_there_is_no_service_account() -> None:
    with pytest.raises(DependencyError, match="No service account"):
        await Client.in_cluster()


def shipped_rules() -> list[dict[str, Any]]:
    """The rights that the plain manifests give the operator in the namespaces that it watches."""
    documents = yaml.safe_load_all((ROOT / "manifests/install.yaml").read_text())
    (rules,) = [
        each["rules"]
        for each in documents
        if each["kind"] in ("Role", "ClusterRole")
        and any("cacherollouts/status" in rule["resources"] for rule in each["rules"])
        and any("pods/status" in rule["resources"] for rule in each["rules"])
    ]
    found: list[dict[str, Any]] = rules
    return found


def operator_kubeconfig(team: Team, rules: list[dict[str, Any]], tmp_path: Path) -> str:
    """A kubeconfig that may do in the namespace what the rules say, and nothing else."""
    rbac = "rbac.authorization.k8s.io"
    for manifest in (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": {"name": "operator"},
            "rules": rules,
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "operator"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "operator"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "operator", "namespace": team.namespace}
            ],
        },
    ):
        team.kubectl("apply", "-f", "-", given=manifest)
    token = team.kubectl("create", "token", "operator").strip()
    config = yaml.safe_load(team.kubeconfig.read_text())
    config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)


async def test_the_shipped_rights_suffice_for_a_whole_rollout(team: Team, tmp_path: Path) -> None:
    team.apply_server_side(deployment())
    await team.rollout()
    client = await Client.from_kubeconfig(operator_kubeconfig(team, shipped_rules(), tmp_path))
    worker = Team(team.kubeconfig, team.namespace, client)
    try:
        await worker.act(AddFinalizer())
        stable = target_of(await worker.settled()).revision
        await worker.act(KeepSnapshot(stable))
        await hold(worker)
        team.apply_server_side(deployment(env={"MODE": "new"}))
        release = target_of(await worker.observe()).revision
        await worker.act(KeepSnapshot(release))
        await worker.act(ApplyCanary(release, "v2", attempt=1, replicas=0))
        await worker.act(ApplyCanary(release, "v2", attempt=1, replicas=1))
        seen = await worker.until(lambda seen: len(seen.canary_pods()) == 1)
        await worker.act(SetAdmission(opened=(seen.canary_pods()[0].name,)))
        seen = await worker.until(lambda seen: seen.canary_pods()[0].is_admitted)
        assert seen.canary is not None
        await worker.act(DeleteCanary(seen.canary.uid))
        await restore(worker, stable)
        await worker.act(DropSnapshots(frozenset({stable})))
        found = await worker.rollout()
        await worker.workloads.write_status(found, {"message": "done"})
        await KubeRecorder(client, lambda: 1_800_000_000.0).say(found, Say(Reason.ADOPTED, "x"))
        assert "Adopted" in team.kubectl("get", "events")
        team.kubectl("delete", "cacherollout", "api", "--wait=false")
        target = target_of(await worker.until(lambda seen: seen.is_deleting))
        await worker.act(FreeTarget(target.resource_version))
        await worker.act(RemoveFinalizer())
        assert await client.get(ROLLOUTS, team.namespace, "api") is None
    finally:
        await client.close()


async def test_a_missing_right_is_named(team: Team, tmp_path: Path) -> None:
    team.apply(deployment())
    await team.settled()
    rules = shipped_rules()
    for rule in rules:
        if rule["resources"] == ["deployments"]:
            rule["verbs"] = ["get", "list"]
    client = await Client.from_kubeconfig(operator_kubeconfig(team, rules, tmp_path))
    worker = Team(team.kubeconfig, team.namespace, client)
    try:
        target = target_of(await worker.observe())
        with pytest.raises(
            DependencyError, match=r"denies the operator to patch deployments\.apps"
        ):
            await worker.act(ApplyTarget(True, None, target.resource_version))
    finally:
        await client.close()
