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
        ({"CACHE_INVALIDATE_VERSIONS": "v1,v 2"}, "CACHE_INVALIDATE_VERSIONS"),
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


def test_our_own_version_is_deleted_first_and_once() -> None:
    settings = read_settings(BASE | {"CACHE_VERSION": "v3", "CACHE_INVALIDATE_VERSIONS": "v2, v3,"})
    assert settings.invalidated_versions == ("v3", "v2")


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
