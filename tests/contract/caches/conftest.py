"""A redis-server, admins' objects in memory, and a canary pod that fills its cache when asked."""

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cacherollout.adapters.cache import RedisCaches
from cacherollout.api.names import Key
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.cache import Connection, Endpoint
from cacherollout.core.facts import CacheFacts, PodFacts
from cacherollout.shell.clock import wall_clock

KEY = Key("shop", "api")


class RedisProcess:
    """One redis-server on a free loopback port; may be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.directory), *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def connect(self, **login: str) -> Connection:
        deadline = asyncio.get_running_loop().time() + 10
        while True:
            try:
                return await Connection.connect(Endpoint("127.0.0.1", self.port, **login))
            except Exception:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.02)


class FakeObjects:
    """Implements ports.objects.Objects in memory and counts what it is asked."""

    def __init__(self) -> None:
        self.backends: dict[Key, dict[str, Any]] = {}
        self.secrets: dict[Key, dict[str, bytes]] = {}
        self.reads = 0
        self.failure: Exception | None = None

    async def get_backend(self, namespace: str, name: str) -> dict[str, Any] | None:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return self.backends.get(Key(namespace, name))

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        self.reads += 1
        return self.secrets.get(Key(namespace, name))

    def put_backend(self, port: int, *, uid: str = "b1", **spec: Any) -> None:
        redis = {"address": f"127.0.0.1:{port}", **spec.pop("redis", {})}
        prefixes = spec.pop("keyPrefixes", ["user:", "booking:"])
        self.backends[Key("shop", "main")] = {
            "metadata": {"uid": uid, "name": "main", "namespace": "shop"},
            "spec": {"redis": redis, "keyPrefixes": prefixes, **spec},
        }


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    assert shutil.which("redis-server"), "these tests need redis-server: apt-get install it"
    process = RedisProcess(tmp_path)
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def client(redis: RedisProcess) -> AsyncIterator[Connection]:
    connection = await redis.connect()
    yield connection
    await connection.wait_closed()


@pytest.fixture
def objects(redis: RedisProcess) -> FakeObjects:
    fake = FakeObjects()
    fake.put_backend(redis.port)
    return fake


@pytest.fixture
async def caches(objects: FakeObjects) -> AsyncIterator[RedisCaches]:
    adapter = RedisCaches(objects, wall_clock)
    yield adapter
    await adapter.close()


def a_spec(*families: dict[str, Any], **more: Any) -> CacheRolloutSpec:
    user = {"name": "user", "key": "user:{version}:{id}", "required": ["id"]}
    return CacheRolloutSpec.model_validate(
        {
            "targetRef": {"name": "api"},
            "cache": {"backendRef": {"name": "main"}, "families": list(families) or [user]},
            **more,
        }
    )


BOOKINGS = {
    "name": "bookings",
    "key": "booking:{version}:list:{id}",
    "warm": "Replay",
    "replayPath": "/users/{id}/bookings",
}


async def fill(
    client: Connection, version: str, count: int, *, stem: str = "user", ttl: int = 300
) -> None:
    """Values with a TTL, as the application would store them."""
    key = {"user": "user:{}:{}", "booking": "booking:{}:list:{}"}[stem]
    await client.pipeline(
        [("SET", key.format(version, at), json.dumps({"id": at}), "EX", ttl) for at in range(count)]
    )


async def count(client: Connection, pattern: str) -> int:
    return len(await client.call("KEYS", pattern))


async def until(
    caches: RedisCaches,
    spec: CacheRolloutSpec,
    is_reached: Callable[[CacheFacts], Any],
    *,
    key: Key = KEY,
    seconds: float = 20.0,
) -> CacheFacts:
    """The first facts for which the condition holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        facts = await caches.observe(key, spec)
        if is_reached(facts):
            return facts
        assert asyncio.get_running_loop().time() < deadline, facts
        await asyncio.sleep(0.05)


def is_done(work: Any) -> Callable[[CacheFacts], bool]:
    def check(facts: CacheFacts) -> bool:
        found = facts.work(work.key)
        return found is not None and found.is_done

    return check


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Answer], Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers on loopback that answer every GET."""
    runners = []

    async def start(answer: Answer) -> int:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


def a_pod(name: str, port: int | None, **facts: Any) -> PodFacts:
    given: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "ip": "127.0.0.1",
        "is_canary": True,
        "revision": "r2",
        "version": "v2",
        "is_ready": False,
        "are_containers_ready": True,
        "is_admitted": False,
        "metrics_port": port,
    }
    return PodFacts(**{**given, **facts})
