import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace

import aiohttp
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from blingauto.app import build_application
from blingauto.settings import Settings
from servers import PostgresServer, RedisServer, free_port


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@pytest.fixture(scope="session")
async def running_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def redis_server(running_redis: RedisServer) -> RedisServer:
    """Empty and running when the test begins."""
    if running_redis.process is None or running_redis.process.returncode is not None:
        await running_redis.start()
    async with Redis.from_url(running_redis.url) as client:
        await client.flushall()
    return running_redis


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url) as client:
        yield client


class Api:
    """One process's worth of API, reached over HTTP."""

    def __init__(self, base: str, session: aiohttp.ClientSession, server: uvicorn.Server) -> None:
        self.base = base
        self.session = session
        self.server = server

    async def get(self, path: str) -> tuple[int, dict]:
        async with self.session.get(self.base + path) as response:
            return response.status, await response.json(content_type=None)

    async def put(self, path: str, body: dict) -> tuple[int, dict]:
        async with self.session.put(self.base + path, json=body) as response:
            return response.status, await response.json()

    async def post(self, path: str, body: dict) -> tuple[int, dict]:
        async with self.session.post(self.base + path, json=body) as response:
            return response.status, await response.json()

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of `name` that carry `labels`."""
        async with self.session.get(self.base + "/metrics") as response:
            text = await response.text()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def readiness(self) -> int:
        async with self.session.get(self.base + "/readyz") as response:
            return response.status


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(60):
            while not await condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"never came true: {what}")


StartApi = Callable[..., Awaitable[Api]]


@pytest.fixture
async def start_api(postgres: PostgresServer, redis_server: RedisServer) -> AsyncIterator[StartApi]:
    """Starts APIs in this process; each is a server of its own with settings of its own."""
    running: list[tuple[Api, asyncio.Task[None]]] = []

    async def start(*, wait: bool = True, **changes: object) -> Api:
        settings = replace(
            Settings(
                database_url=postgres.url,
                redis_url=redis_server.url,
                seed_users=400,
                seed_services=20,
                seed_bookings=2_000,
                cache_second_delete_seconds=0.2,
                # So that a busy machine is not taken for bad weather; who tests that says so.
                redis_timeout_seconds=2.0,
                database_pool_timeout_seconds=10.0,
                database_statement_timeout_seconds=10.0,
            ),
            **changes,  # type: ignore[arg-type]
        )
        port = free_port()
        config = uvicorn.Config(
            build_application(settings).asgi,
            host="127.0.0.1",
            port=port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[method-assign]
        session = aiohttp.ClientSession()
        api = Api(f"http://127.0.0.1:{port}", session, server)
        running.append((api, asyncio.create_task(server.serve())))

        async def is_there() -> bool:
            try:
                return not wait or await api.readiness() == 200
            except aiohttp.ClientConnectionError:
                return False

        await eventually(lambda: _true_when(server), "the server listens")
        await eventually(is_there, "the API is ready")
        return api

    yield start
    for api, task in running:
        await api.session.close()
        api.server.should_exit = True
        await task


async def _true_when(server: uvicorn.Server) -> bool:
    return server.started
