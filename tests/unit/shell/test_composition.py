import asyncio
import logging
from typing import Any

import pytest

from cacherollout.adapters.kube.resources import ROLLOUTS, Resource
from cacherollout.api.reasons import Reason
from cacherollout.ports.errors import ConflictError, DependencyError
from cacherollout.shell import composition
from cacherollout.shell.server import Health
from cacherollout.shell.settings import Settings

pytestmark = pytest.mark.looptime


class FakeClient:
    """An API server that does not answer, then does not know our kinds, then does."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def select(self, resource: Resource, namespace: str) -> list[dict[str, Any]]:
        self.asked.append((resource.plural, namespace))
        now = asyncio.get_running_loop().time()
        if now < 20:
            raise DependencyError(Reason.API_UNAVAILABLE, "refused")
        if now < 40 and resource is ROLLOUTS:
            raise ConflictError("404")
        return []


async def test_a_replica_waits_for_the_api_server_and_our_kinds_and_says_each_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, health = FakeClient(), Health()
    settings = Settings(namespaces=("shop", "test"))
    with caplog.at_level(logging.WARNING):
        await composition._look_around(client, settings, health)  # type: ignore[arg-type]
    assert health.is_started
    assert asyncio.get_running_loop().time() >= 40
    assert client.asked[-2:] == [("cacherollouts", "shop"), ("cachebackends", "shop")]
    assert [record.getMessage() for record in caplog.records] == [
        "The API server is not usable yet: refused",
        "The custom resource definitions are not installed yet: 404",
    ]


async def test_being_told_to_stop_ends_the_waiting() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(3, stop.set)
    assert not await composition._unless(stop, asyncio.sleep(1000))
    assert asyncio.get_running_loop().time() == pytest.approx(3)


async def test_what_was_waited_for_goes_on_and_its_error_too() -> None:
    assert await composition._unless(asyncio.Event(), asyncio.sleep(1))
    broken = asyncio.get_running_loop().create_future()
    broken.set_exception(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await composition._unless(asyncio.Event(), broken)
