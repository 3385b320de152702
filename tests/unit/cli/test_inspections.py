"""What cannot be seen: a finding in the cluster, and none from a laptop."""

import socket
from dataclasses import replace
from typing import Any

import pytest

from cacherollout.api.names import Key
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.cli.inspections import _cache, _Place, _prefixes
from cacherollout.core.readiness import Unseen
from cacherollout.ports.errors import DependencyError
from tests.unit.cli.conftest import SPEC

DENIED = DependencyError(Reason.FORBIDDEN, "The API server denies the operator to get secrets")


class FakeObjects:
    """One CacheBackend, and a Secret that may be missing or denied."""

    def __init__(self, backend: Any, secret: Any = None) -> None:
        self.backend, self.secret = backend, secret

    async def get_backend(self, namespace: str, name: str) -> dict[str, Any] | None:
        return given(self.backend)

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        return given(self.secret)


def given(what: Any) -> Any:
    if isinstance(what, Exception):
        raise what
    return what


def a_backend(port: int = 1, *, prefix: str = "user:", **redis: Any) -> dict[str, Any]:
    spec = {"redis": {"address": f"127.0.0.1:{port}", **redis}, "keyPrefixes": [prefix]}
    return {"metadata": {"name": "main", "uid": "b"}, "spec": spec}


WITH_SECRET = {"credentialsSecretRef": {"name": "redis"}}


def a_place(backend: Any, secret: Any = None, *, is_inside: bool) -> _Place:
    spec = CacheRolloutSpec.model_validate(SPEC)
    return _Place(Key("shop", "api"), spec, FakeObjects(backend, secret), is_inside)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("is_inside", [True, False])
async def test_a_cache_that_does_not_answer(closed_port: int, *, is_inside: bool) -> None:
    found = await _cache(a_place(a_backend(closed_port), is_inside=is_inside), "v1")
    assert isinstance(found, Unseen)
    assert found.is_failure is is_inside
    assert f"127.0.0.1:{closed_port}" in found.why


@pytest.mark.parametrize("is_inside", [True, False])
async def test_a_secret_that_may_not_be_read(*, is_inside: bool) -> None:
    place = a_place(a_backend(**WITH_SECRET), DENIED, is_inside=is_inside)
    assert await _cache(place, "v1") == Unseen(str(DENIED), is_failure=is_inside)


@pytest.mark.parametrize("is_inside", [True, False])
async def test_a_secret_that_is_missing_fails_everywhere(*, is_inside: bool) -> None:
    found = await _cache(a_place(a_backend(**WITH_SECRET), is_inside=is_inside), "v1")
    assert isinstance(found, Unseen)
    assert (found.is_failure, "does not exist" in found.why) == (True, True)


@pytest.mark.parametrize(
    ("backend", "is_failure", "said"),
    [
        (None, True, "CacheBackend main does not exist"),
        (a_backend(prefix="order:"), True, "must begin with an allowed prefix"),
        (DENIED, False, "denies"),
        ({"metadata": {"uid": "b"}, "spec": {}}, True, "spec.redis"),
    ],
    ids=["missing", "another prefix", "denied", "unreadable"],
)
async def test_key_prefixes_that_do_not_hold(backend: Any, is_failure: bool, said: str) -> None:
    found = await _prefixes(a_place(backend, is_inside=False))
    assert isinstance(found, Unseen)
    assert found.is_failure is is_failure
    assert said in found.why


async def test_a_versions_key_outside_the_prefixes_does_not_hold_either() -> None:
    place = a_place(a_backend(), is_inside=False)
    spec = CacheRolloutSpec.model_validate(
        {**SPEC, "cache": {**SPEC["cache"], "versionsKey": "app:versions"}}
    )
    found = await _prefixes(replace(place, spec=spec))
    assert isinstance(found, Unseen)
    assert "cache.versionsKey 'app:versions' must begin with an allowed prefix" in found.why


async def test_key_prefixes_that_hold() -> None:
    assert await _prefixes(a_place(a_backend(), is_inside=False)) == ("user:",)
