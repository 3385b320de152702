"""Operations while a primary dies: waited out, taken up again on the one that takes over."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from cacherollout.cache import (
    ClusterDownError,
    Copy,
    Family,
    Hot,
    Keep,
    KeyTemplate,
    Limits,
    NotReadyError,
    Retire,
    Survey,
    UnreachableError,
    Verify,
    probe,
)
from tests.contract.cache.cluster.clusters import (
    KEYS,
    Known,
    RedisCluster,
    keys_under,
    plant,
    some_ids,
    wait_for_takeover,
)
from tests.contract.cache.cluster.conftest import TEMPLATES
from tests.contract.cache.conftest import PREFIXES, Dump, RedisProcess, running, until

SLOW = Limits(keys_per_second=2_000, page_keys=20)
FAST = Limits.unthrottled()
IMPATIENT = Limits(patience_seconds=0.3, timeout_seconds=0.3)
Operation = Copy | Hot | Keep | Retire | Survey | Verify


def operation_of(name: str, cluster: RedisCluster, family: Family) -> Operation:
    server = cluster.server
    made: dict[str, Callable[[], Operation]] = {
        "copy": lambda: Copy(server, [family], source="v1", target="v2", limits=SLOW),
        "hot": lambda: Hot(server, [family], version="v1", top=KEYS, limits=SLOW),
        "keep": lambda: Keep(server, [family], version="v1", ttl_seconds=9_000, limits=SLOW),
        "retire": lambda: Retire(server, [family], versions=["v1"], limits=SLOW),
        "survey": lambda: Survey(server, [family], ["v1"], SLOW),
        "verify": lambda: Verify(server, [family], version="v1", sample=KEYS, limits=SLOW),
    }
    return made[name]()


async def check(name: str, report: object, cluster: RedisCluster, family: Family, v2: Dump) -> None:
    """The end must be the same as if nobody had died."""
    state = await cluster.dump()
    v1_keys = keys_under(family, "v1", some_ids())
    match name, report:
        case "copy", _:
            copies = keys_under(family, "v2", some_ids())
            assert all(state[c] == state[o] for c, o in zip(copies, v1_keys, strict=True))
        case "hot", report:
            assert sorted(report.families[0].ids) == sorted(some_ids())  # type: ignore[attr-defined]
        case "keep", _:
            assert min(await cluster.run([(b"PTTL", key) for key in v1_keys])) > 3_600_000
        case "retire", _:
            assert state == v2
        case "survey", report:
            assert report.of("user", "v1").keys == KEYS  # type: ignore[attr-defined]
        case "verify", report:
            assert report.families[0].sampled == KEYS  # type: ignore[attr-defined]
    assert state.items() >= v2.items()


@pytest.fixture
def family() -> Family:
    """Untagged: copies cross primaries, which is the harder case; one test takes both."""
    return Family("user", KeyTemplate.parse(TEMPLATES["plain"], PREFIXES), required=("id",))


@pytest.mark.parametrize("name", ["copy", "hot", "keep", "retire", "survey", "verify"])
async def test_an_operation_ends_as_if_the_primary_at_hand_had_not_died(
    cluster: RedisCluster, family: Family, name: str
) -> None:
    await check_with_a_death(cluster, family, name, victim=-1)


@pytest.mark.parametrize("template", [*TEMPLATES.values()], ids=[*TEMPLATES])
async def test_a_copy_ends_as_if_another_primary_had_not_died(
    cluster: RedisCluster, template: str
) -> None:
    family = Family("user", KeyTemplate.parse(template, PREFIXES))
    await check_with_a_death(cluster, family, "copy", victim=-2)


async def check_with_a_death(
    cluster: RedisCluster, family: Family, name: str, *, victim: int
) -> None:
    """Kill a primary under way; `victim` counts from the one that is walked over first, at -1."""
    await plant(cluster, [b"user:v10:1", b"user:v1", b"other"])
    others = await cluster.dump()
    await plant(cluster, keys_under(family, "v1", some_ids()))
    await cluster.settle()
    ordered = sorted(await cluster.primaries(), key=lambda each: (len(each.slots), each.id))
    dying = ordered[victim]
    operation = operation_of(name, cluster, family)
    async with running(operation.run()) as task:
        await until(lambda: operation.progress.done >= KEYS // 20)
        dying.redis.kill()
        assert not task.done()
        report = await task
    await wait_for_takeover(cluster, dying)
    await check(name, report, cluster, family, others)


async def test_a_primary_that_nobody_takes_over_from_is_named(
    cluster: RedisCluster, family: Family
) -> None:
    await plant(cluster, keys_under(family, "v1", some_ids()))
    victim = (await cluster.primaries())[0]
    heir = await replica_of(cluster, victim)
    server = cluster.server
    await probe(server)
    heir.kill()
    victim.redis.kill()
    began = time.monotonic()
    with pytest.raises((UnreachableError, NotReadyError), match=r"slots? \d+") as refusal:
        await Survey(server, [family], ["v1"], IMPATIENT).run()
    assert time.monotonic() - began < 5
    assert "replica" in str(refusal.value)


async def test_a_cluster_that_goes_down_under_way_says_so(
    cluster: RedisCluster, family: Family
) -> None:
    await plant(cluster, keys_under(family, "v1", some_ids()))
    *_, last, first = sorted(await cluster.primaries(), key=lambda each: (len(each.slots), each.id))
    heir = await replica_of(cluster, last)
    limits = replace(SLOW, keys_per_second=300, patience_seconds=0.5)
    retire = Retire(cluster.server, [family], versions=["v1"], limits=limits)
    client = await first.redis.connect()

    async def is_down() -> bool:
        return b"cluster_state:fail" in await client.call("CLUSTER", "INFO")

    task = asyncio.ensure_future(retire.run())
    await until(lambda: retire.progress.done)
    heir.kill()
    last.redis.kill()
    await until(is_down)
    with pytest.raises((ClusterDownError, UnreachableError), match=r"CLUSTERDOWN|replica"):
        await task
    await client.wait_closed()


async def test_a_primary_that_comes_back_is_gone_on_with(
    cluster: RedisCluster, family: Family
) -> None:
    """Restarted before anybody takes over: empty, for these servers keep nothing on disk."""
    await plant(cluster, keys_under(family, "v1", some_ids()))
    victim = max(await cluster.primaries(), key=lambda each: (len(each.slots), each.id))
    retire = Retire(cluster.server, [family], versions=["v1"], limits=SLOW)
    async with running(retire.run()) as task:
        await until(lambda: retire.progress.done >= KEYS // 20)
        victim.redis.kill()
        victim.redis.start()
        await task
    assert not [key for key in await cluster.dump() if key.startswith(b"user:v1:")]


async def replica_of(cluster: RedisCluster, known: Known) -> RedisProcess:
    client = await known.redis.connect()
    (follower,) = (await client.call("ROLE"))[2]
    await client.wait_closed()
    return next(node for node in cluster.nodes if node.port == int(follower[1]))
