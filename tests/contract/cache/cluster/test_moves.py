"""Operations while slots move: nothing is lost, nothing is left behind."""

import pytest

from cacherollout.cache import (
    Copy,
    Coverage,
    Family,
    Keep,
    Limits,
    Retire,
    Standalone,
    Survey,
    TopologyError,
    Verify,
)
from cacherollout.cache.slots import slot_of
from tests.contract.cache.cluster.clusters import (
    KEYS,
    Known,
    Move,
    RedisCluster,
    keys_under,
    plant,
    some_ids,
)
from tests.contract.cache.conftest import Dump, running, until

SLOW = Limits(keys_per_second=800, page_keys=20)
FAST = Limits.unthrottled()
Operation = Copy | Keep | Retire | Survey


async def first_and_last(cluster: RedisCluster) -> tuple[Known, Known]:
    """The primary that is walked over first, and the one that is walked over last."""
    known = await cluster.primaries()
    ordered = sorted(known, key=lambda each: (len(each.slots), each.id))
    return ordered[-1], ordered[0]


def busiest(keys: list[bytes], known: Known, count: int) -> list[int]:
    """Slots of a primary with keys in them."""
    slots = [slot for key in keys if (slot := slot_of(key)) in known.slots]
    return list(dict.fromkeys(slots))[:count]


async def while_running(cluster: RedisCluster, operation: Operation, keys: list[bytes]) -> object:
    """The report of an operation that slots moved away from, and others in behind its back."""
    first, last = await first_and_last(cluster)
    own = sum(slot_of(key) in first.slots for key in keys)
    to_leave, to_come = busiest(keys, first, 8), busiest(keys, last, 8)
    async with running(operation.run()) as task:
        await until(lambda: operation.progress.done >= own * 0.05)
        for slot in to_leave:
            await Move(cluster, slot, first, last).whole()
        await until(lambda: operation.progress.done >= own * 0.85)
        for slot in to_come:
            await Move(cluster, slot, last, first).whole()
        assert not task.done(), "the moves must come in between"
        return await task


def assert_same(one: Dump, other: Dump) -> None:
    """Equal but for what a slot's move does to expiries: it carries the time left over."""
    assert one.keys() == other.keys()
    for key, (value, expiry) in one.items():
        assert value == other[key][0]
        assert expiry == pytest.approx(other[key][1], abs=1_000)


async def test_retire_leaves_no_key_behind_that_moved_past_it(
    cluster: RedisCluster, family: Family
) -> None:
    v1 = keys_under(family, "v1", some_ids())
    await plant(cluster, [*keys_under(family, "v2", some_ids()), b"user:v10:1", b"other"])
    kept = await cluster.dump()
    await plant(cluster, v1)
    retire = Retire(cluster.server, [family], versions=["v1"], limits=SLOW)
    await while_running(cluster, retire, v1)
    assert_same(await cluster.dump(), kept)


async def test_copy_misses_no_key_that_moved_past_it(cluster: RedisCluster, family: Family) -> None:
    v1, v2 = (keys_under(family, version, some_ids()) for version in ("v1", "v2"))
    await plant(cluster, v1)
    before = await cluster.dump()
    copy = Copy(cluster.server, [family], source="v1", target="v2", limits=SLOW)
    await while_running(cluster, copy, v1)
    after = await cluster.dump()
    assert len(after) == 2 * KEYS
    assert_same({key: after[key] for key in v1}, before)
    assert_same({s: after[t] for s, t in zip(v1, v2, strict=True)}, before)


async def test_keep_and_survey_meet_keys_that_moved_past_them(
    cluster: RedisCluster, family: Family
) -> None:
    v1 = keys_under(family, "v1", some_ids())
    await plant(cluster, v1)
    keep = Keep(cluster.server, [family], version="v1", ttl_seconds=9_000, limits=SLOW)
    await while_running(cluster, keep, v1)
    assert min(await cluster.run([(b"PTTL", key) for key in v1])) > 3_600_000

    survey = Survey(cluster.server, [family], ["v1"], SLOW)
    await while_running(cluster, survey, v1)
    found = (await Survey(cluster.server, [family], ["v1"], FAST).run()).of("user", "v1").keys
    assert found == KEYS, "exact once nothing moves"


@pytest.mark.parametrize("sent", ["none", "some", "all"])
async def test_a_slot_half_way_is_dealt_with_on_both_sides(
    cluster: RedisCluster, family: Family, sent: str
) -> None:
    v1, v2 = (keys_under(family, version, some_ids()) for version in ("v1", "v2"))
    await plant(cluster, v1)
    source, target = (await cluster.primaries())[:2]
    moves = [Move(cluster, slot, source, target) for slot in busiest(v1, source, 12)]
    for move in moves:
        await move.open()
        here = [key for key in v1 if slot_of(key) == move.slot]
        count = {"none": 0, "some": (len(here) + 1) // 2, "all": len(here)}[sent]
        await move.send(here[:count])

    ids = some_ids()
    coverage = await Coverage(cluster.server, family, version="v1", ids=ids, limits=FAST).run()
    assert coverage.present == KEYS
    verify = Verify(cluster.server, [family], version="v1", sample=KEYS)
    assert (await verify.run()).families[0].sampled == KEYS
    survey = await Survey(cluster.server, [family], ["v1"], FAST).run()
    assert survey.of("user", "v1").keys == KEYS
    copy = Copy(cluster.server, [family], source="v1", target="v2", limits=FAST)
    assert (await copy.run()).families[0].copied == KEYS
    keep = Keep(cluster.server, [family], version="v2", ttl_seconds=9_000, limits=FAST)
    assert (await keep.run()).families[0].lengthened == KEYS
    retire = Retire(cluster.server, [family], versions=["v1"], limits=FAST)
    assert (await retire.run()).removed[0].keys == KEYS

    for move in moves:
        await move.send()
        await move.close()
    assert (await cluster.dump()).keys() == {*v2}


async def test_one_node_of_a_cluster_is_not_taken_for_all(
    cluster: RedisCluster, family: Family
) -> None:
    await plant(cluster, keys_under(family, "v1", some_ids()))
    before = await cluster.dump()
    server = Standalone(cluster.nodes[0].endpoint)
    with pytest.raises(TopologyError, match="one node of a cluster"):
        await Retire(server, [family], versions=["v1"], limits=FAST).run()
    assert await cluster.dump() == before
