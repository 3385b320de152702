"""Operations over a real cluster at rest: the same reports and keys as over one server."""

import asyncio
import re

import pytest

from cacherollout.cache import (
    Cluster,
    Connection,
    Copy,
    Coverage,
    Endpoint,
    Family,
    HeadroomError,
    Hot,
    Keep,
    KeyTemplate,
    Limits,
    Mirror,
    Retire,
    Survey,
    TopologyError,
    UnreachableError,
    Verify,
    missing_rights,
    probe,
)
from cacherollout.cache.slots import slot_of
from tests.contract.cache.cluster.clusters import (
    KEYS,
    RedisCluster,
    keys_under,
    plant,
    some_ids,
    with_endpoint,
)
from tests.contract.cache.cluster.conftest import TEMPLATES
from tests.contract.cache.commands import ROOT
from tests.contract.cache.conftest import PREFIXES, Dump, RedisProcess, running, until

FAST = Limits.unthrottled()
FOREIGN = (
    b"user:v10:1",
    b"user:v1",
    b"user:v1:",
    b"user:v1x:{1}",
    b"xuser:v1:1",
    b"user:[v1]:1",
    b"user:v20:{7}",
    b"\xff\x00user:v1:1",
)


async def foreign(cluster: RedisCluster) -> Dump:
    await plant(cluster, FOREIGN)
    return await cluster.dump()


async def test_the_slot_of_a_key_is_the_servers(cluster: RedisCluster, family: Family) -> None:
    client = await cluster.nodes[0].connect()
    keys = [b"", b"a", b"{a}b", b"x{}y{z}", b"x{{a}}b", b"}{a}", b"{", b"{}", b"a{b", b"\xff{\x00}"]
    keys += keys_under(family, "v1", some_ids(99))
    theirs = await client.pipeline([("CLUSTER", "KEYSLOT", key) for key in keys])
    assert [slot_of(key) for key in keys] == theirs
    await client.wait_closed()


@pytest.mark.parametrize("limits", [FAST, Limits(keys_per_second=20_000)], ids=["fast", "polite"])
async def test_a_copy_is_whole_and_touches_nothing_else(
    cluster: RedisCluster, family: Family, limits: Limits
) -> None:
    others = await foreign(cluster)
    await plant(cluster, keys_under(family, "v1", some_ids()))
    taken = keys_under(family, "v2", [b"7", b"*"])
    await cluster.run([(b"SET", key, b"newer") for key in taken])
    before = await cluster.dump()

    dry = Copy(cluster.server, [family], source="v1", target="v2", limits=limits, is_dry_run=True)
    assert (await dry.run()).families[0].copied == KEYS - 2
    assert await cluster.dump() == before
    copy = Copy(cluster.server, [family], source="v1", target="v2", limits=limits)
    counts = (await copy.run()).families[0]

    after = await cluster.dump()
    assert (counts.copied, counts.kept, counts.without_ttl) == (KEYS - 2, 2, 0)
    assert after.items() >= before.items() >= others.items()
    sources, targets = keys_under(family, "v1", some_ids()), keys_under(family, "v2", some_ids())
    assert len(after) == len(before) + KEYS - 2
    for source, target in zip(sources, targets, strict=True):
        assert after[target] == after[source] or target in taken
    again = Copy(cluster.server, [family], source="v1", target="v2", limits=limits)
    assert (await again.run()).families[0].copied == 0


async def test_all_types_and_keys_without_ttl_are_copied(
    cluster: RedisCluster, family: Family
) -> None:
    one, two, three, four, five, six = keys_under(family, "v1", [b"%d" % i for i in range(6)])
    await cluster.run([(b"SET", one, b"\x00\xff")])
    for known in await cluster.primaries():
        client = await known.redis.connect()
        for command in (
            ("HSET", two, "a", "b"),
            ("RPUSH", three, "a"),
            ("SADD", four, "a"),
            ("ZADD", five, 1, "a"),
            ("XADD", six, "1-1", "a", "b"),
        ):
            if slot_of(command[1]) in known.slots:
                await client.call(*command)
        await client.wait_closed()
    report = await Copy(cluster.server, [family], source="v1", target="v2", limits=FAST).run()
    assert (report.families[0].copied, report.families[0].without_ttl) == (6, 6)
    state = await cluster.dump()
    for source in (one, two, three, four, five, six):
        assert state[source.replace(b":v1:", b":v2:")] == state[source]


async def test_a_survey_counts_every_key_once(cluster: RedisCluster, family: Family) -> None:
    await foreign(cluster)
    await plant(cluster, keys_under(family, "v1", some_ids()))
    report = await Survey(cluster.server, [family], ["v1", "v2"], FAST).run()
    assert (report.of("user", "v1").keys, report.of("user", "v2").keys) == (KEYS, 0)
    assert len(report.memories) == len(await cluster.primaries())
    facts = await probe(cluster.server)
    assert (facts.role, facts.keys) == ("master", KEYS + len(FOREIGN))


async def test_keep_hot_verify_and_coverage_see_all_primaries(
    cluster: RedisCluster, family: Family
) -> None:
    keys = keys_under(family, "v1", some_ids())
    await cluster.run([(b"SET", key, b'{"id": 1}', b"EX", 60) for key in keys])
    server, v1 = cluster.server, "v1"

    hot = await Hot(server, [family], version=v1, top=KEYS, limits=FAST).run()
    assert sorted(hot.families[0].ids) == sorted(some_ids())
    verify = Verify(server, [family], version=v1, sample=KEYS)
    verdict = (await verify.run()).families[0]
    assert (verdict.sampled, verdict.corrupt) == (KEYS, 0)
    asked = [*some_ids()[:500], b"not there"]
    coverage = await Coverage(server, family, version=v1, ids=asked, limits=FAST).run()
    assert (coverage.sampled, coverage.present) == (501, 500)
    kept = await Keep(server, [family], version=v1, ttl_seconds=600, limits=FAST).run()
    assert kept.families[0].lengthened == KEYS
    assert min(await cluster.run([(b"PTTL", key) for key in keys])) > 500_000


async def test_retire_leaves_nothing_behind_and_takes_nothing_else(
    cluster: RedisCluster, family: Family
) -> None:
    others = await foreign(cluster)
    await plant(cluster, keys_under(family, "v2", some_ids()))
    kept = await cluster.dump()
    await plant(cluster, keys_under(family, "v1", some_ids()))
    report = await Retire(cluster.server, [family], versions=["v1"], limits=FAST).run()
    assert report.removed[0].keys == KEYS
    assert await cluster.dump() == kept
    assert kept.items() >= others.items()


async def test_a_full_primary_stops_a_copy_that_the_others_had_room_for(
    cluster: RedisCluster, family: Family
) -> None:
    await plant(cluster, keys_under(family, "v1", some_ids()))
    before = await cluster.dump()
    full = await cluster.owner(b"user:v2:1")
    client = await full.redis.connect()
    used = int((await client.call("INFO", "memory")).partition(b"used_memory:")[2].split()[0])
    await client.call("CONFIG", "SET", "maxmemory", used)
    try:
        copy = Copy(cluster.server, [family], source="v1", target="v2", limits=FAST)
        with pytest.raises(HeadroomError, match="maxmemory"):
            await copy.run()
    finally:
        await client.call("CONFIG", "SET", "maxmemory", 0)
        await client.wait_closed()
    assert await cluster.dump() == before


async def test_a_primary_that_fills_up_under_way_stops_a_copy(cluster: RedisCluster) -> None:
    """It is another one than is walked over: copies cross to it."""
    family = Family("user", KeyTemplate.parse(TEMPLATES["plain"], PREFIXES))
    v1 = keys_under(family, "v1", some_ids())
    await plant(cluster, v1)
    ordered = sorted(await cluster.primaries(), key=lambda known: (len(known.slots), known.id))
    other, first = ordered[0], ordered[-1]
    client = await other.redis.connect()
    limits = Limits(keys_per_second=1_000, page_keys=20)
    copy = Copy(cluster.server, [family], source="v1", target="v2", limits=limits)
    task = asyncio.ensure_future(copy.run())
    try:
        await until(lambda: copy.progress.done > KEYS // 20)
        used = int((await client.call("INFO", "memory")).partition(b"used_memory:")[2].split()[0])
        limit = used * 5 // 4  # four fifths are the ceiling where keys may be evicted
        await client.call("CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", "allkeys-lru")
        with pytest.raises(HeadroomError, match="maxmemory"):
            await task
        assert copy.progress.done < sum(slot_of(key) in first.slots for key in v1), "at once"
        assert b"evicted_keys:0" in await client.call("INFO", "stats")
    finally:
        await client.call("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction")
        await client.wait_closed()


async def test_a_server_of_its_own_is_no_cluster(
    shared_redis: RedisProcess, client: Connection
) -> None:
    with pytest.raises(TopologyError, match="not part of a cluster"):
        await probe(Cluster([shared_redis.endpoint]))
    with pytest.raises(ValueError, match="database 0"):
        Cluster([Endpoint("127.0.0.1", database=1)])


async def test_no_node_that_answers_is_unreachable(cluster: RedisCluster) -> None:
    nobody = with_endpoint(cluster, port=1)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        await probe(nobody)


def documented_rules() -> list[str]:
    """The rules of docs/how-to/prepare-redis.md for a cluster."""
    page = (ROOT / "docs/how-to/prepare-redis.md").read_text(encoding="utf-8")
    _, _, part = page.partition("## In a Redis Cluster")
    (rules,) = re.findall(r"^user operator on >a-long-password (.*)$", part, re.MULTILINE)
    return str(rules).split()


async def test_the_documented_rights_suffice(cluster: RedisCluster, family: Family) -> None:
    for node in cluster.nodes:
        client = await node.connect()
        await client.call("ACL", "SETUSER", "engine", "reset", "on", ">pw", *documented_rules())
        await client.wait_closed()
    server = with_endpoint(cluster, username="engine", password="pw")
    assert await missing_rights(server, [family], version="v1") == ()
    await plant(cluster, keys_under(family, "v1", some_ids(200)))
    await Survey(server, [family], ["v1"], FAST).run()
    await Copy(server, [family], source="v1", target="v2", limits=FAST).run()
    await Keep(server, [family], version="v2", ttl_seconds=9_999, limits=FAST).run()
    await Hot(server, [family], version="v2", limits=FAST).run()
    await Verify(server, [family], version="v2", limits=FAST).run()
    mirror = Mirror(server, [family], stable="v1", target="v2", serving=("v1",), limits=FAST)
    async with running(mirror.run()):
        await mirror.coherent()
        await cluster.run(
            [(b"SET", key, b"newer") for key in keys_under(family, "v1", some_ids(50))]
        )
        await until(lambda: mirror.state.mirrored >= 50)
        await Retire(server, [family], versions=["v2"], limits=FAST).run()
    await Retire(server, [family], versions=["v1", "v2"], limits=FAST).run()
    assert await cluster.dump() == {}
