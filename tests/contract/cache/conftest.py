"""Real redis-servers on free loopback ports, and ways to look at and disturb them."""

import asyncio
import contextlib
import inspect
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from cacherollout.cache import Connection, Endpoint, Family, KeyTemplate, Standalone, Writes

PREFIXES = ("user:", "booking:")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RedisProcess:
    """One redis-server; `start` and `kill` as often as wanted, on the same port and directory."""

    directory: Path
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.directory), "--save", "", "--enable-debug-command", "yes"]
        self._run(*command, *self.arguments, *more)

    def start_sentinel(self, configuration: Path) -> None:
        self._run("redis-server", str(configuration), "--sentinel")

    def _run(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port)

    @property
    def server(self) -> Standalone:
        return Standalone(self.endpoint)

    async def connect(self) -> Connection:
        """A connection for the test itself, once the server takes one (it may be starting)."""
        deadline = asyncio.get_running_loop().time() + 10
        while True:
            try:
                connection = await Connection.connect(self.endpoint)
                await connection.call("PING")
            except Exception:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.02)
            else:
                return connection


@pytest.fixture(scope="session")
def redis_binary() -> str:
    path = shutil.which("redis-server")
    assert path, "these tests need redis-server: apt-get install redis-server"
    return path


@pytest.fixture(scope="session")
def shared_redis(
    redis_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisProcess]:
    redis = RedisProcess(tmp_path_factory.mktemp("redis"))
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
def own_redis(redis_binary: str, tmp_path: Path) -> Iterator[RedisProcess]:
    """A server of the test's own, to kill, fill and reconfigure."""
    redis = RedisProcess(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
async def client(shared_redis: RedisProcess) -> AsyncIterator[Connection]:
    """A connection to the shared server, emptied before the test."""
    connection = await shared_redis.connect()
    await connection.call("FLUSHALL")
    await connection.call("CONFIG", "RESETSTAT")
    yield connection
    await connection.wait_closed()


@pytest.fixture
def users() -> Family:
    return Family("user", KeyTemplate.parse("user:{version}:{id}", PREFIXES), required=("id",))


@pytest.fixture
def bookings() -> Family:
    return Family(
        "booking",
        KeyTemplate.parse("booking:{version}:list:{id}", PREFIXES),
        is_compatible=False,
        writes=Writes.INVALIDATE,
        ttl_seconds=300,
    )


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", str(key)]
    command += ["-out", str(certificate), "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


class Caller(Protocol):
    """Runs single commands for a test."""

    async def call(self, *command: bytes | str | int) -> Any: ...


Dump = dict[bytes, tuple[bytes, int]]


async def dump(connection: Connection) -> Dump:
    """Every key of the database, with its serialised value and absolute expiry (ms, -1: none)."""
    keys = await connection.call("KEYS", "*")
    values = await connection.pipeline([("DUMP", key) for key in keys])
    expiries = await connection.pipeline([("PEXPIRETIME", key) for key in keys])
    return {
        key: (value, expiry)
        for key, value, expiry in zip(keys, values, expiries, strict=True)
        if value is not None
    }


async def plant_foreign_keys(connection: Connection) -> Dump:
    """Keys of all types that look almost like ours; return their dump."""
    await connection.pipeline(
        [
            ("SET", "user:v10:1", "ten"),
            ("SET", "user:v1", "no id"),
            ("SET", "user:v1:", "empty id"),
            ("SET", "user:v11:1", "eleven"),
            ("SET", "user:v1x:1", "x"),
            ("SET", "user:V1:1", "case", "PX", 3_600_000),
            ("SET", "xuser:v1:1", "before"),
            ("SET", "userv1:1", "no delimiter"),
            ("SET", "user:[v1]:1", "glob"),
            ("HSET", "user:v20:1", "a", "b"),
            ("RPUSH", "booking:v1:lists:1", "a"),
            ("SADD", "booking:v1:1", "a"),
            ("ZADD", "booking:v10:list:1", 1, "a"),
            ("XADD", "celery", "1-1", "a", "b"),
            ("SET", b"\xff\x00user:v1:1", b"\x00\xff"),
        ]
    )
    return await dump(connection)


@contextlib.asynccontextmanager
async def running(coroutine: object) -> AsyncIterator["asyncio.Task[object]"]:
    """Run something beside the test, and end it with the block; its own failure fails the test."""
    task = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
    try:
        yield task
    finally:
        if task.done() and not task.cancelled():
            task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition on a real server's clock, where nothing tells; the test's timeout ends it."""
    while True:
        outcome = condition()
        if inspect.isawaitable(outcome):
            outcome = await outcome
        if outcome:
            return
        await asyncio.sleep(0.001)
