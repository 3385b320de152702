"""A CacheBackend whose redis.mode is Cluster: the operator's works over all of its primaries."""

from collections.abc import AsyncIterator

import pytest

from cacherollout.adapters.cache import RedisCaches, backends, supervision
from cacherollout.api.reasons import Reason
from cacherollout.cache import Connection, Family, key_of
from cacherollout.core.actions import CopyWork, MirrorWork, PublishWork, RetireWork
from cacherollout.shell.clock import wall_clock
from tests.contract.cache.cluster.clusters import (
    RedisCluster,
    Routed,
    keys_under,
    plant,
    routed,
    some_ids,
)
from tests.contract.cache.conftest import RedisProcess
from tests.contract.cache.conftest import until as until_so
from tests.contract.caches.conftest import KEY, FakeObjects, a_spec, is_done, until

KEYS = 500
COPY = CopyWork(("user",), "v1", "v2")
MIRROR = MirrorWork(("user",), (), "v1", "v2")
RETIRE = RetireWork(("v1",))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(supervision, "FIRST_PAUSE_SECONDS", 0.05)


@pytest.fixture
async def caches(cluster: RedisCluster) -> AsyncIterator[RedisCaches]:
    objects = FakeObjects()
    objects.put_backend(cluster.nodes[-1].port, redis={"mode": "Cluster"})
    adapter = RedisCaches(objects, wall_clock)
    yield adapter
    await adapter.close()


async def is_value(client: Routed, key: bytes, value: bytes | None) -> None:
    async def is_so() -> bool:
        return bool(await client.call("GET", key) == value)

    await until_so(is_so)


async def test_a_release_copies_stays_coherent_and_retires(
    cluster: RedisCluster, family: Family, caches: RedisCaches
) -> None:
    template = family.template
    written = template.prefix + b"{version}" + template.middle + b"{id}" + template.tail
    spec = a_spec({"name": "user", "key": written.decode()})
    v1, v2 = (keys_under(family, version, some_ids(KEYS)) for version in ("v1", "v2"))
    others = [b"user:v10:1", b"user:v1", b"other"]
    await plant(cluster, [*v1, *others])

    await caches.run(KEY, spec, (MIRROR, COPY), ())
    facts = await until(
        caches, spec, lambda f: is_done(COPY)(f) and f.coherence and f.coherence.is_coherent
    )
    assert facts.problem is None
    work = facts.work(COPY.key)
    assert work
    assert (work.families[0].done, work.families[0].total) == (KEYS, KEYS)
    state = await cluster.dump()
    assert all(state[t] == state[s] for s, t in zip(v1, v2, strict=True))

    async with routed(cluster) as client:
        one, other = (key_of(family, version, b"1") for version in ("v1", "v2"))
        await client.call("SET", one, "new", "PX", 100_000)
        await is_value(client, other, b"new")
        await client.call("DEL", one)
        await is_value(client, other, None)

    await caches.run(KEY, spec, (RETIRE,), ())
    await until(caches, spec, is_done(RETIRE))
    assert sorted(await cluster.dump()) == sorted([*(k for k in v2 if k != other), *others])


async def test_the_versions_are_published_on_whichever_primary_the_key_belongs_to(
    cluster: RedisCluster,
) -> None:
    # Slots 140, 8266 and 12527: one in each third of them.
    for at in ("user:b", "user:d", "user:a"):
        objects = FakeObjects()
        objects.put_backend(cluster.nodes[-1].port, redis={"mode": "Cluster"})
        adapter = RedisCaches(objects, wall_clock)
        work = PublishWork(at, ("v1", "v2"))
        await adapter.run(KEY, a_spec(), (work,), ())
        async with routed(cluster) as client:
            await is_value(client, at.encode(), b"v1,v2")
        await adapter.close()


@pytest.mark.parametrize("mode", ["Cluster", "Standalone"])
async def test_a_mode_that_is_not_the_servers_is_named(
    cluster: RedisCluster, shared_redis: RedisProcess, client: Connection, mode: str
) -> None:
    port = cluster.nodes[0].port if mode == "Standalone" else shared_redis.port
    objects = FakeObjects()
    objects.put_backend(port, redis={"mode": mode})
    adapter = RedisCaches(objects, wall_clock)
    problem = (await adapter.observe(KEY, a_spec())).problem
    await adapter.close()
    assert problem
    assert problem.reason == Reason.INVALID_SPEC
    assert "redis.mode" in problem.message
