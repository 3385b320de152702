"""The mirror over a real cluster: what it carries over, what it never leaves outdated, what it tells."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from cacherollout.cache import Copy, Family, KeyTemplate, Limits, Writes, key_of
from cacherollout.cache.slots import slot_of
from tests.contract.cache.cluster.clusters import (
    Known,
    Move,
    RedisCluster,
    Routed,
    keys_under,
    one_more,
    plant,
    proxied,
    routed,
    wait_for_takeover,
)
from tests.contract.cache.cluster.conftest import TEMPLATES
from tests.contract.cache.conftest import PREFIXES, running, until
from tests.contract.cache.test_coherence import STEPS, Application
from tests.contract.cache.test_mirrors import BOTH, mirroring, settle

TTL = ("PX", 100_000)
PATIENT = replace(Limits.unthrottled(), timeout_seconds=10)
"""A busy machine is no lost connection."""
FOREIGN = (b"user:v20:1", b"user:v2", b"user:v2:", b"user:v30:{1}", b"xuser:v2:1")
MANY = [b"%d" % number for number in range(200)]


@pytest.mark.parametrize("version", BOTH)
async def test_fills_go_to_the_target_and_removals_both_ways(
    cluster: RedisCluster, family: Family, version: str
) -> None:
    await plant(cluster, FOREIGN)
    others = await cluster.dump()
    v2, v3 = (keys_under(family, each, MANY) for each in BOTH)
    async with (
        mirroring(cluster.server, [family], limits=PATIENT) as mirror,
        routed(cluster) as client,
    ):
        for key in v2:
            await client.call("SET", key, b"of " + key, *TTL)
        await settle(mirror, client)
        state = await cluster.dump()
        assert all(state[t] == state[s] for s, t in zip(v2, v3, strict=True))
        assert mirror.state.mirrored >= len(MANY)

        for key in v2[:100]:
            await client.call("SET", key, b"newer", *TTL)
        await settle(mirror, client)
        state = await cluster.dump()
        assert all(state.get(t, state[s]) == state[s] for s, t in zip(v2, v3, strict=True))

        for key in keys_under(family, version, MANY):
            await client.call("DEL", key)
        await settle(mirror, client)
        assert await cluster.dump() == others | {
            key: entry for key, entry in (await cluster.dump()).items() if b"marker" in key
        }
        assert (mirror.state.is_coherent, mirror.state.gaps) == (True, 0)


@pytest.mark.timeout(170)
@pytest.mark.parametrize("template", [*TEMPLATES.values()], ids=[*TEMPLATES])
@pytest.mark.parametrize("kind", ["compatible", "write-through", "fill"])
@given(steps=STEPS)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_no_version_keeps_an_outdated_value(
    shared_cluster: RedisCluster, template: str, kind: str, steps: list[tuple[str, str, str]]
) -> None:
    family = Family("user", KeyTemplate.parse(template, PREFIXES))
    if kind != "compatible":
        writes = Writes.WRITE_THROUGH if kind == "write-through" else Writes.INVALIDATE
        family = replace(family, is_compatible=False, writes=writes)
    await shared_cluster.on_all("FLUSHALL")
    async with (
        proxied(shared_cluster) as (server, proxies),
        routed(shared_cluster) as client,
        mirroring(server, [family], limits=PATIENT) as mirror,
    ):
        application = Application(client, mirror, proxies, family)
        for step in steps:
            await application.take(*step)
        await application.settle()
        await application.check()


async def test_a_copy_that_crosses_brings_no_removed_value_back(cluster: RedisCluster) -> None:
    """Values are read, removed by the application, and only then written to the other primary."""
    family = Family("user", KeyTemplate.parse(TEMPLATES["plain"], PREFIXES))
    ids = [b"%d" % number for number in range(4_000)]
    v2, v3 = (keys_under(family, each, ids) for each in BOTH)
    async with mirroring(cluster.server, [family], limits=PATIENT, serving=("v2",)) as mirror:
        mirror.serving = BOTH
        async with routed(cluster) as client:
            await plant(cluster, v2)
            copy = Copy(
                mirror.server, [family], source="v2", target="v3", limits=Limits.unthrottled()
            )
            async with running(copy.run()) as task:
                await until(lambda: copy.progress.total is not None)
                for start in range(0, len(v2), 100):
                    await cluster.run([(b"UNLINK", key) for key in v2[start : start + 100]])
                await task
            await settle(mirror, client)
        assert not (await cluster.dump()).keys() & {*v2, *v3}
        assert mirror.state.gaps == 0


async def test_a_lost_connection_to_any_primary_is_declared_and_repaired(
    cluster: RedisCluster, family: Family
) -> None:
    v2, v3 = (keys_under(family, each, MANY) for each in BOTH)
    async with (
        proxied(cluster) as (server, _),
        routed(cluster) as client,
        mirroring(server, [family], limits=PATIENT) as mirror,
    ):
        for gaps, known in enumerate(await cluster.primaries(), start=1):
            await plant(cluster, v2)
            await settle(mirror, client)
            proxy = server._proxies[known.redis.port]
            proxy.replies.clear()
            for key in v2[:50]:  # what is pushed for these never arrives
                await client.call("DEL", key)
            for key in v2[50:100]:
                await client.call("SET", key, b"newer", *TTL)
            proxy.cut()
            proxy.replies.set()
            await until(lambda gaps=gaps: mirror.state.gaps == gaps)
            assert not mirror.state.is_coherent
            await mirror.coherent()
            state = {key: value for key, (value, _) in (await cluster.dump()).items()}
            for source, target in zip(v2, v3, strict=True):
                assert target not in state or state[target] == state.get(source)
            await client.call("SET", v2[0], b"new", *TTL)
            await until_like(client, v3[0], b"new")


async def test_a_mirror_goes_on_after_a_failover(cluster: RedisCluster, family: Family) -> None:
    v2, v3 = (keys_under(family, each, MANY) for each in BOTH)
    await plant(cluster, v2)
    await cluster.settle()
    victim = (await cluster.primaries())[0]
    async with mirroring(cluster.server, [family], limits=PATIENT) as mirror:
        victim.redis.kill()
        await until(lambda: not mirror.state.is_coherent)
        assert mirror.state.gaps == 1
        await wait_for_takeover(cluster, victim)
        await mirror.coherent()
        async with routed(cluster) as client:
            for source, target in zip(v2[:20], v3[:20], strict=True):
                await client.call("SET", source, b"new", *TTL)
                await until_like(client, target, b"new")


async def test_slots_that_move_between_watched_primaries_open_no_gap(
    cluster: RedisCluster, family: Family
) -> None:
    v2, v3 = (keys_under(family, each, MANY) for each in BOTH)
    async with mirroring(cluster.server, [family], limits=PATIENT) as mirror:
        async with routed(cluster) as client:
            for key in v2:
                await client.call("SET", key, b"old", *TTL)
            await settle(mirror, client)
        source, target, *_ = await cluster.primaries()
        slots = {slot_of(key) for key in [*v2, *v3]} & source.slots
        for slot in sorted(slots)[:8]:
            await Move(cluster, slot, source, target).whole()
        async with routed(cluster) as client:
            await settle(mirror, client)
            state = await cluster.dump()
            assert all(state[t][0] == state[s][0] for s, t in zip(v2, v3, strict=True))
            for key in v2:
                await client.call("DEL", key)
            await settle(mirror, client)
        assert not (await cluster.dump()).keys() & {*v2, *v3}
        assert mirror.state.gaps == 0


async def test_a_primary_that_joins_is_watched_before_it_has_slots(
    cluster: RedisCluster, family: Family
) -> None:
    source = (await cluster.primaries())[0]
    key = next(k for k in keys_under(family, "v2", MANY) if slot_of(k) in source.slots)
    async with (
        mirroring(cluster.server, [family], limits=PATIENT) as mirror,
        one_more(cluster) as newcomer,
    ):
        await until(lambda: mirror.state.gaps)
        await mirror.coherent()
        gaps = mirror.state.gaps
        await Move(cluster, slot_of(key), source, newcomer).whole()
        client = await newcomer.redis.connect()
        await client.call("SET", key, b"new", *TTL)
        await client.wait_closed()
        await until(lambda: mirror.state.mirrored == 1)
        assert mirror.state.gaps == gaps
        await Move(cluster, slot_of(key), newcomer, source).whole()


async def test_changes_in_a_slot_half_way_are_mirrored(
    cluster: RedisCluster, family: Family
) -> None:
    """The keys are where the application finds them: on either side of the move."""
    async with mirroring(cluster.server, [family], limits=PATIENT) as mirror:
        source, target, *_ = await cluster.primaries()
        (key,) = keys_under(family, "v2", [next(i for i in MANY if held(family, i, source))])
        other = key.replace(b":v2:", b":v3:")
        move = Move(cluster, slot_of(key), source, target)
        await move.open()
        here, there = await source.redis.connect(), await target.redis.connect()
        await there.pipeline([("ASKING",), ("SET", key, b"one", *TTL)])
        async with routed(cluster) as client:
            await until(lambda: mirror.state.mirrored)
            await there.pipeline([("ASKING",), ("DEL", key)])
            await until(lambda: mirror.state.removed)
            await move.close()
            await settle(mirror, client)
        assert not (await cluster.dump()).keys() & {key, other}
        assert mirror.state.gaps == 0
        for client_of_a_node in (here, there):
            await client_of_a_node.wait_closed()


def held(family: Family, identifier: bytes, known: Known) -> bool:
    return slot_of(key_of(family, "v2", identifier)) in known.slots


async def until_like(client: Routed, key: bytes, value: bytes) -> None:
    async def is_so() -> bool:
        return bool(await client.call("GET", key) == value)

    await until(is_so)
