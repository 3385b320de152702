"""The process as Kubernetes runs it: its settings, and its end."""

import asyncio
import os
import signal
import sys
import time

import aiohttp
import pytest

from blingauto.settings import SettingsError, read_settings
from conftest import eventually
from servers import PostgresServer, RedisServer, free_port

BASE = {"DATABASE_URL": "postgresql+asyncpg://x/y", "REDIS_URL": "redis://x"}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"REDIS_URL": ""}, "REDIS_URL"),
        ({"CACHE_VERSION": "v:1"}, "CACHE_VERSION"),
        ({"CACHE_VERSION": "v*"}, "CACHE_VERSION"),
        ({"CACHE_VERSIONS_KEY": "blingauto:*"}, "CACHE_VERSIONS_KEY"),
        ({"CACHE_VERSIONS_KEY": "b"}, "CACHE_VERSIONS_KEY"),
        ({"CACHE_VERSIONS_KEY": "a" * 129}, "CACHE_VERSIONS_KEY"),
        ({"CACHE_VERSIONS_KEY": "user:all:versions"}, "lies under user:"),
        ({"CACHE_VERSIONS_KEY": "booking:v1:list:x"}, "lies under booking:"),
        ({"CACHE_TTL_SECONDS": "soon"}, "CACHE_TTL_SECONDS"),
        ({"CACHE_TTL_SECONDS": "nan"}, "CACHE_TTL_SECONDS"),
        ({"REDIS_TIMEOUT_SECONDS": "5"}, "REDIS_TIMEOUT_SECONDS"),
        ({"DATABASE_POOL_SIZE": "1.5"}, "DATABASE_POOL_SIZE"),
        ({"CACHE_SECOND_DELETE_SECONDS": "2"}, "DATABASE_STATEMENT_TIMEOUT_SECONDS"),
    ],
)
def test_a_bad_variable_is_named(variables: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings(BASE | variables)


@pytest.mark.parametrize("key", ["blingauto:versions", "user:versions", "booking:v1:lists"])
def test_a_key_that_no_cached_value_can_have_names_the_versions(key: str) -> None:
    assert read_settings(BASE | {"CACHE_VERSIONS_KEY": key}).cache_versions_key == key


async def test_an_unknown_release_ends_the_process_with_a_message() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "blingauto"),
        env=os.environ
        | BASE
        | {"BLINGAUTO_RELEASE": "v7", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 2
    assert b"BLINGAUTO_RELEASE='v7' is unknown; use one of v2, v3" in output


async def test_sigterm_drains(postgres: PostgresServer, redis_server: RedisServer) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "blingauto"),
        env=os.environ
        | {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis_server.url,
            "PORT": str(port),
            "DRAIN_SECONDS": "0.6",
            "SEED_USERS": "400",
            "SEED_SERVICES": "20",
            "SEED_BOOKINGS": "2000",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:

            async def status(path: str) -> int:
                try:
                    async with session.get(base + path) as response:
                        return response.status
                except aiohttp.ClientConnectionError:
                    return 0

            async def is_ready() -> bool:
                return await status("/readyz") == 200

            async def is_draining() -> bool:
                return await status("/readyz") == 503

            await eventually(is_ready, "ready")
            process.send_signal(signal.SIGTERM)
            told_at = time.monotonic()
            await eventually(is_draining, "not ready any more")
            async with session.get(base + "/api/users/1") as response:
                assert response.status == 200
                assert response.headers["Connection"] == "close"
            assert await process.wait() == 0
            assert 0.5 < time.monotonic() - told_at < 15
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
