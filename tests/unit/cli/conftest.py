"""An API server of three objects, for commands that are called as people call them."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.resources import DEPLOYMENTS, ROLLOUTS, Resource
from cacherollout.cli import main
from cacherollout.ports.errors import CacheRolloutError

Manifest = dict[str, Any]
SPEC: Manifest = {
    "targetRef": {"name": "api"},
    "cache": {
        "backendRef": {"name": "main"},
        "families": [{"name": "user", "key": "user:{version}:{id}"}],
    },
}


def a_rollout(**status: Any) -> Manifest:
    return {
        "metadata": {"name": "api", "namespace": "shop", "uid": "u", "generation": 2,
                     "resourceVersion": "1"},
        "spec": SPEC,
        "status": {"observedGeneration": 2, **status},
    }  # fmt: skip


class FakeClient:
    """Objects in memory; `answers` has what a later look gives instead, or raises."""

    def __init__(self) -> None:
        self.objects: dict[Resource, Manifest | None] = {}
        self.answers: list[Manifest | CacheRolloutError] = []
        self.patches: list[Manifest] = []
        self.on_patch: Callable[[Manifest], None] = lambda _: None
        self.is_closed = False

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        if resource is ROLLOUTS and self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, CacheRolloutError):
                raise answer
            self.objects[ROLLOUTS] = answer
        return self.objects.get(resource)

    async def merge_patch(
        self, resource: Resource, namespace: str, name: str, patch: Manifest
    ) -> Manifest:
        self.patches.append(patch)
        self.on_patch(patch)
        return self.objects[resource] or {}

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """What every command of the test speaks to."""
    fake = FakeClient()

    async def connect(path: str | None = None, context: str | None = None) -> FakeClient:
        return fake

    monkeypatch.setattr(Client, "from_kubeconfig", connect)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return fake


def a_deployment(image: str = "api:1") -> Manifest:
    container = {"name": "api", "image": image}
    return {
        "metadata": {"name": "api", "uid": "t", "resourceVersion": "1", "generation": 1},
        "spec": {"replicas": 2, "paused": True, "template": {"spec": {"containers": [container]}}},
        "status": {},
    }


def put(server: FakeClient, rollout: Manifest, deployment: Manifest | None = None) -> None:
    server.objects = {ROLLOUTS: rollout, DEPLOYMENTS: deployment}


def call(*arguments: str) -> Result:
    """Run a command; whatever it raises beyond its exit code fails the test."""
    return CliRunner().invoke(main, [*arguments], catch_exceptions=False)
