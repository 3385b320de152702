"""Operations across a failover that real sentinels carry out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cacherollout.cache import (
    Connection,
    Copy,
    Endpoint,
    Family,
    Limits,
    Mirror,
    Sentinel,
    UnreachableError,
    probe,
)
from tests.contract.cache.conftest import RedisProcess, free_port, running, until

KEYS = 3_000
PASSWORD = "watched"
CREDENTIALS = Endpoint("unused", password=PASSWORD)


@dataclass
class Watched:
    """A primary, a replica, and one sentinel that fails over within a second."""

    primary: RedisProcess
    replica: RedisProcess
    sentinel: RedisProcess

    @property
    def server(self) -> Sentinel:
        nobody = Endpoint("127.0.0.1", free_port())
        sentinels = [nobody, self.sentinel.endpoint]
        return Sentinel(sentinels, primary="main", credentials=CREDENTIALS)


async def connect(redis: RedisProcess) -> Connection:
    endpoint = replace(redis.endpoint, password=PASSWORD)
    await until(lambda: listens(endpoint))
    return await Connection.connect(endpoint)


async def listens(endpoint: Endpoint) -> bool:
    try:
        connection = await Connection.connect(endpoint)
    except UnreachableError:
        return False
    await connection.wait_closed()
    return True


@pytest.fixture
async def watched(redis_binary: str, tmp_path: Path) -> AsyncIterator[Watched]:
    secrets = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
    directories = [tmp_path / name for name in ("one", "two", "sentinel")]
    for directory in directories:
        directory.mkdir()
    primary = RedisProcess(directories[0], secrets)
    replica = RedisProcess(
        directories[1], (*secrets, "--replicaof", "127.0.0.1", str(primary.port))
    )
    sentinel = RedisProcess(directories[2])
    configuration = directories[2] / "sentinel.conf"
    configuration.write_text(
        f"port {sentinel.port}\nbind 127.0.0.1\n"
        f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
        f"sentinel auth-pass main {PASSWORD}\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
    )
    try:
        for redis in (primary, replica):
            redis.start()
        client = await connect(primary)
        follower = await connect(replica)
        await until(lambda: is_linked(follower))
        sentinel.start_sentinel(configuration)
        observer = await sentinel.connect()
        await until(lambda: knows_replica(observer))
        for connection in (client, follower, observer):
            await connection.wait_closed()
        yield Watched(primary, replica, sentinel)
    finally:
        for redis in (primary, replica, sentinel):
            redis.kill()


async def is_linked(follower: Connection) -> bool:
    return b"master_link_status:up" in await follower.call("INFO", "replication")


async def knows_replica(observer: Connection) -> bool:
    (primary,) = await observer.call("SENTINEL", "MASTERS")
    return bool(primary[b"num-slaves"] == b"1")


async def test_a_copy_survives_a_failover(watched: Watched, users: Family) -> None:
    client = await connect(watched.primary)
    await client.pipeline([("SET", f"user:v1:{i}", i, "EX", 1000) for i in range(KEYS)])
    assert await client.call("WAIT", 1, 1000) == 1
    limits = Limits(keys_per_second=5_000, page_keys=20)
    copy = Copy(watched.server, [users], source="v1", target="v2", limits=limits)
    async with running(copy.run()) as task:
        await until(lambda: copy.progress.done > KEYS * 0.3)
        watched.primary.kill()
        await task
    await client.wait_closed()
    client = await connect(watched.replica)
    assert await client.call("DBSIZE") == 2 * KEYS
    assert (await probe(watched.server)).role == "master"
    await client.wait_closed()


async def test_a_mirror_moves_to_the_new_primary(watched: Watched, users: Family) -> None:
    mirror = Mirror(watched.server, [users], stable="v1", target="v2", serving=("v1", "v2"))
    async with running(mirror.run()):
        await mirror.coherent()
        watched.primary.kill()
        await until(lambda: not mirror.state.is_coherent)
        async with asyncio.timeout(15):
            await mirror.coherent()
        assert mirror.state.gaps == 1
        client = await connect(watched.replica)
        await client.call("SET", "user:v1:1", "x", "EX", 100)
        await until(lambda: client.call("EXISTS", "user:v2:1"))
        await client.wait_closed()


async def test_an_unknown_primary_is_named(watched: Watched) -> None:
    server = Sentinel([watched.sentinel.endpoint], primary="other", credentials=CREDENTIALS)
    with pytest.raises(UnreachableError, match="no primary named 'other'"):
        await probe(server)
    with pytest.raises(UnreachableError, match="no sentinel"):
        await probe(Sentinel([], primary="main", credentials=CREDENTIALS))
