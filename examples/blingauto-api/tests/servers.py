"""Starts a real Redis and a real PostgreSQL for the tests, on loopback, with their own folders.

Both come from the system's packages (`apt-get install redis-server postgresql`); the tests use neither
the system's services nor their data.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

DEADLINE_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


async def wait_for_port(port: int, process: asyncio.subprocess.Process) -> None:
    """Until something listens; fails at once if the process ended."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"the server ended with code {process.returncode}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


@dataclass
class RedisServer:
    """A redis-server that a test may stop and start again, empty, on the same port."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port)),
            *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
            stdout=subprocess.DEVNULL,
        )
        await wait_for_port(self.port, self.process)

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


class PostgresServer:
    """A PostgreSQL cluster of its own; runs as `postgres` if the tests run as root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return self._url("postgres")

    async def create_database(self, name: str) -> str:
        """A new, empty one; its URL."""
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self._port, user="blingauto", database="postgres"
        )
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql+asyncpg://blingauto@127.0.0.1:{self._port}/{database}"

    async def start(self) -> None:
        data = self._folder / "postgres"
        user = "postgres" if os.geteuid() == 0 else None
        if user is not None:
            # pytest's folders are closed to others, on the way down too.
            data = Path("/tmp") / f"blingauto-postgres-{self._port}"  # noqa: S108
            data.mkdir(mode=0o700)
            shutil.chown(data, user)
        self._data = data
        initdb = await asyncio.create_subprocess_exec(
            *(_program("initdb"), "-D", str(data), "-U", "blingauto", "--auth=trust"),
            *("--no-sync", "--locale=C.UTF-8", "--encoding=UTF8"),
            stdout=subprocess.DEVNULL,
            user=user,
            cwd="/",
        )
        assert await initdb.wait() == 0, "initdb failed"
        self._process = await asyncio.create_subprocess_exec(
            *(_program("postgres"), "-D", str(data), "-p", str(self._port), "-k", str(data)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "jit=off"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
            cwd="/",
        )
        await wait_for_port(self._port, self._process)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            # Fast shutdown: SIGTERM would wait for connections that a failed test left open.
            self._process.send_signal(signal.SIGINT)
            await self._process.wait()
        shutil.rmtree(self._data, ignore_errors=True)


def _program(name: str) -> str:
    """Debian keeps PostgreSQL's programs off the PATH."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(newest[-1]) if newest else None)
    assert found, f"{name} is missing: apt-get install postgresql"
    return found
