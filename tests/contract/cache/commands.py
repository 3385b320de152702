"""Running `cacherollout cache` as a process of its own, as people and scripts do."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from cacherollout.cache import Connection
from tests.contract.cache.conftest import RedisProcess, until

ROOT = Path(__file__).parents[3]
FAMILY = ("--family", "user=user:{version}:{id}")


@dataclass(frozen=True)
class Done:
    code: int | None
    stdout: str
    stderr: str


async def start(
    *arguments: str, password: str | None = None, stdin: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "operator")}
    environment.pop("CACHEROLLOUT_REDIS_PASSWORD", None)
    if password is not None:
        environment["CACHEROLLOUT_REDIS_PASSWORD"] = password
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cacherollout", "cache", *arguments),
        env=environment,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process) -> Done:
    stdout, stderr = await process.communicate()
    done = Done(process.returncode, stdout.decode(), stderr.decode())
    assert "Traceback" not in done.stderr
    return done


async def run(
    redis: RedisProcess,
    command: str,
    *arguments: str,
    user: str = "",
    password: str | None = None,
    family: tuple[str, ...] = FAMILY,
) -> Done:
    url = f"redis://{user}127.0.0.1:{redis.port}"
    return await finish(
        await start(command, "--redis", url, *family, *arguments, password=password)
    )


async def interrupt_once(
    process: asyncio.subprocess.Process, client: Connection, keys: int
) -> Done:
    """Send SIGINT as soon as the database holds over `keys` keys."""

    async def has_begun() -> bool:
        return bool(await client.call("DBSIZE") > keys)

    await until(has_begun)
    process.send_signal(signal.SIGINT)
    return await finish(process)
