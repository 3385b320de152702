"""A real API server, a namespace for each test, and somebody who deploys there as people do."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from cacherollout.adapters.kube import Client, KubeWorkloads
from cacherollout.adapters.kube.resources import (
    DEPLOYMENTS,
    PODS,
    ROLLOUTS,
    Manifest,
    Resource,
)
from cacherollout.api.names import Key
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import Action
from cacherollout.core.facts import Observed
from cacherollout.ports.workloads import RolloutObject

ROOT = Path(__file__).parents[3]
Seen = TypeVar("Seen")
NOW = 1_800_000_000.0
IMAGE = "docker.io/cacherollout/pause:dev"


@pytest.fixture(scope="session", autouse=True)
def _definitions(definitions: None) -> None:
    """Nothing here makes sense without them."""


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    client = await Client.from_kubeconfig(str(kubeconfig))
    yield client
    await client.close()


@pytest.fixture
def namespace(kubeconfig: Path) -> Iterator[str]:
    """A namespace of one's own; its end is not waited for."""
    name = f"kube-{uuid4().hex[:8]}"
    kubectl = ["kubectl", "--kubeconfig", str(kubeconfig)]
    subprocess.run([*kubectl, "create", "namespace", name], check=True, capture_output=True)
    yield name
    # A finalizer that a failed test left would keep the namespace for good.
    patch = '{"metadata":{"finalizers":null}}'
    listed = subprocess.run(
        [*kubectl, "-n", name, "get", "cacherollouts", "-o", "name"],
        check=True,
        capture_output=True,
        text=True,
    )
    for each in listed.stdout.split():
        subprocess.run(
            [*kubectl, "-n", name, "patch", each, "--type=merge", "-p", patch],
            check=True,
            capture_output=True,
        )
    subprocess.run(
        [*kubectl, "delete", "namespace", name, "--wait=false"], check=True, capture_output=True
    )


def deployment(
    image: str = IMAGE, *, name: str = "api", replicas: int = 1, env: dict[str, str] | None = None
) -> Manifest:
    """What a team has in its repository; a changed image or variable is a release."""
    container: Manifest = {
        "name": "api",
        "image": image,
        "imagePullPolicy": "Never",
        "ports": [{"containerPort": 8000}],
    }
    if env:
        container["env"] = [{"name": key, "value": value} for key, value in env.items()]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    }


@dataclass
class Team:
    """Does in one namespace what people and their tools do, and asks the adapter what it sees."""

    kubeconfig: Path
    namespace: str
    client: Client
    workloads: KubeWorkloads = field(init=False)
    rollout_name: str = "api"

    def __post_init__(self) -> None:
        self.workloads = KubeWorkloads(self.client, clock=lambda: NOW)

    def kubectl(self, *arguments: str, given: Any = None) -> str:
        """The output of kubectl; its error as the test's."""
        command = [
            "kubectl",
            "--kubeconfig",
            str(self.kubeconfig),
            "-n",
            self.namespace,
            *arguments,
        ]
        text = None if given is None else json.dumps(given)
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def apply(self, manifest: Manifest) -> None:
        self.kubectl("apply", "-f", "-", given=manifest)

    def apply_server_side(self, manifest: Manifest, manager: str = "gitops") -> None:
        """Server-side apply as a tool that never forces: a conflict fails the test."""
        self.kubectl(
            "apply", "--server-side", f"--field-manager={manager}", "-f", "-", given=manifest
        )

    async def live(self, name: str = "api", resource: Resource = DEPLOYMENTS) -> Manifest:
        found = await self.client.get(resource, self.namespace, name)
        assert found is not None, f"{resource} {name} is not there"
        return found

    async def pods(self, labels: str = "") -> list[Manifest]:
        return await self.client.select(PODS, self.namespace, labels=labels)

    async def rollout(self, **cache: Any) -> RolloutObject:
        """The CacheRollout, created on first use."""
        key = Key(self.namespace, self.rollout_name)
        found = await self.workloads.read(key)
        if found is None:
            await self.client.create(ROLLOUTS, self.namespace, rollout(self.rollout_name, **cache))
            found = await self.workloads.read(key)
        assert found is not None
        return found

    async def observe(self) -> Observed:
        found = await self.rollout()
        return await self.workloads.observe(found, spec_of(found))

    async def act(self, action: Action) -> None:
        found = await self.rollout()
        await self.workloads.apply(found, spec_of(found), action)

    async def settled(self) -> Observed:
        """What is seen once the target runs its template everywhere."""
        return await self.until(lambda seen: seen.target is not None and seen.target.is_complete)

    async def until(self, is_so: Callable[[Observed], bool], seconds: float = 30.0) -> Observed:
        return await eventually(self.observe, is_so, seconds)


async def eventually(
    look: Callable[[], Awaitable[Seen]], is_so: Callable[[Seen], bool], seconds: float = 30.0
) -> Seen:
    """What is seen as soon as it is so; the last look fails the test when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        seen = await look()
        if is_so(seen):
            return seen
        assert time.monotonic() < deadline, f"not within {seconds} s: {seen}"
        await asyncio.sleep(0.05)


def rollout(name: str = "api", target: str = "api", **cache: Any) -> Manifest:
    return {
        "apiVersion": ROLLOUTS.api_version,
        "kind": ROLLOUTS.kind,
        "metadata": {"name": name},
        "spec": {
            "targetRef": {"name": target},
            "cache": {
                "backendRef": {"name": "main"},
                "families": [{"name": "user", "key": "user:{version}:{id}"}],
                **cache,
            },
        },
    }


def spec_of(found: RolloutObject) -> CacheRolloutSpec:
    return CacheRolloutSpec.model_validate(found.spec)


@pytest.fixture
def team(kubeconfig: Path, namespace: str, client: Client) -> Team:
    return Team(kubeconfig, namespace, client)
