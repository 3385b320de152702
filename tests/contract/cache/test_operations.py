"""What each operation does to a real server, and what it leaves alone."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cacherollout.cache import (
    Connection,
    Copy,
    Coverage,
    Family,
    Hot,
    Keep,
    KeyTemplate,
    Limits,
    Retire,
    Survey,
    TemplateError,
    Verify,
)
from tests.contract.cache.conftest import (
    PREFIXES,
    RedisProcess,
    dump,
    plant_foreign_keys,
    running,
    until,
)

FAST = Limits.unthrottled(page_keys=50)
POLITE = Limits(keys_per_second=None)
ODD_IDS = [
    b"odd",
    b"*",
    b"?",
    b"[a]",
    b"\\",
    b"a:b",
    b" ",
    b"\x00",
    b"\xff\r\n",
    b"{t}",
    b"\xc3\xa9",
]


async def fill(client: Connection, version: str, count: int = 300, prefix: str = "user") -> None:
    """`count` keys with TTLs of 100 s and more, and the odd ids on top."""
    ids = [*(b"%d" % i for i in range(count)), *ODD_IDS]
    head = f"{prefix}:{version}:".encode()
    await client.pipeline(
        [("SET", head + i, json.dumps({"id": n}), "PX", 100_000 + n) for n, i in enumerate(ids)]
    )


@pytest.mark.parametrize("limits", [FAST, POLITE], ids=["unthrottled", "polite"])
async def test_copy_fills_the_target_and_touches_nothing_else(
    client: Connection, shared_redis: RedisProcess, users: Family, limits: Limits
) -> None:
    foreign = await plant_foreign_keys(client)
    await fill(client, "v1")
    before = await dump(client)
    copy = Copy(shared_redis.server, [users], source="v1", target="v2", limits=limits)
    report = await copy.run()
    after = await dump(client)
    head, target = b"user:v1:", b"user:v2:"
    ours = {key: entry for key, entry in before.items() if key not in foreign}
    assert {key: after[key] for key in before} == before
    added = {key: entry for key, entry in after.items() if key not in before}
    assert added == {target + key.removeprefix(head): entry for key, entry in ours.items()}
    (counts,) = report.families
    assert (counts.copied, counts.kept, counts.without_ttl) == (len(ours), 0, 0)
    progress = copy.progress
    assert progress.is_finished
    assert progress.done == progress.total == len(ours)
    assert progress.bytes > 0


async def test_a_copy_expects_its_source_however_many_keys_it_adds(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    await fill(client, "v1", 4000)
    limits = Limits(keys_per_second=10_000)
    copy = Copy(shared_redis.server, [users], source="v1", target="v2", limits=limits)
    expected = 4000 + len(ODD_IDS)
    async with running(copy.run()):
        await until(lambda: copy.progress.done > expected * 0.8)
        progress = copy.progress
    assert not progress.is_finished
    assert progress.total == expected
    assert progress.eta_seconds == pytest.approx(
        (progress.total - progress.done) / progress.keys_per_second, rel=0.05
    )


async def test_copy_never_overwrites_and_again_copies_only_what_is_missing(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    await fill(client, "v1")
    await client.pipeline([("SET", "user:v2:1", "newer"), ("HSET", "user:v2:2", "a", "b")])
    newer = {k: v for k, v in (await dump(client)).items() if k.startswith(b"user:v2:")}
    first = await Copy(shared_redis.server, [users], source="v1", target="v2", limits=FAST).run()
    once = await dump(client)
    assert newer.items() <= once.items()
    assert first.families[0].kept == 2
    again = await Copy(shared_redis.server, [users], source="v1", target="v2", limits=FAST).run()
    assert again.families[0].copied == 0
    assert again.families[0].kept == 300 + len(ODD_IDS)
    assert await dump(client) == once


async def test_an_operation_that_is_run_twice_counts_afresh(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    await fill(client, "v1")
    survey = Survey(shared_redis.server, [users], ["v1"], FAST)
    first, second = (await survey.run()).of("user", "v1"), (await survey.run()).of("user", "v1")
    assert first.keys == second.keys == 300 + len(ODD_IDS)
    assert first.weighed == second.weighed
    assert survey.progress.done == 300 + len(ODD_IDS)


async def test_copy_takes_every_type_and_keeps_keys_without_ttl_without(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    await client.pipeline(
        [
            ("SET", "user:v1:string", b"\x00\xff"),
            ("HSET", "user:v1:hash", "a", "1"),
            ("RPUSH", "user:v1:list", "a", "b"),
            ("SADD", "user:v1:set", "a"),
            ("ZADD", "user:v1:zset", 1, "a"),
            ("XADD", "user:v1:stream", "1-1", "a", "b"),
            ("SET", "user:v1:mortal", "x", "PX", 100_000),
        ]
    )
    report = await Copy(shared_redis.server, [users], source="v1", target="v2", limits=FAST).run()
    after = await dump(client)
    assert report.families[0].copied == 7
    assert report.families[0].without_ttl == 6
    for key, entry in after.items():
        assert after[key.replace(b":v1:", b":v2:")] == entry


async def test_copy_leaves_incompatible_families_alone_even_below_a_broader_template(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    template = KeyTemplate.parse("user:{version}:list:{id}", PREFIXES)
    lists = Family("list", template, is_compatible=False)
    await fill(client, "v1", 10)
    await client.call("SET", "user:v1:list:1", "x")
    await Copy(shared_redis.server, [users, lists], source="v1", target="v2", limits=FAST).run()
    assert await client.call("EXISTS", "user:v2:list:1") == 0
    assert await client.call("EXISTS", "user:v2:1") == 1
    with pytest.raises(TemplateError, match="none is compatible"):
        Copy(shared_redis.server, [lists], source="v1", target="v2")


async def test_copy_from_an_empty_namespace_is_done_at_once(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    foreign = await plant_foreign_keys(client)
    copy = Copy(shared_redis.server, [users], source="v1", target="v2")
    report = await copy.run()
    assert report.families[0].copied == 0
    assert copy.progress.is_finished
    assert await dump(client) == foreign


async def test_retire_removes_several_versions_in_one_walk_and_nothing_else(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    for version in ("v1", "v2", "v3"):
        await fill(client, version, 120)
        await fill(client, version, 80, prefix="booking")
        await client.call("SET", f"booking:{version}:list:9", "x")
    await client.call("DEL", "booking:v1:1")
    await plant_foreign_keys(client)
    before = await dump(client)
    heads = (b"user:v1:", b"user:v3:", b"booking:v1:list:", b"booking:v3:list:")
    ours = {key for key in before if key.startswith(heads) and key not in heads}
    retire = Retire(shared_redis.server, [users, bookings], versions=["v1", "v3"], limits=FAST)
    report = await retire.run()
    after = await dump(client)
    removed = before.keys() - after.keys()
    assert removed == ours
    assert after.items() <= before.items()
    assert {(r.family, r.version): r.keys for r in report.removed} == {
        ("user", "v1"): 120 + len(ODD_IDS),
        ("user", "v3"): 120 + len(ODD_IDS),
        ("booking", "v1"): 1,
        ("booking", "v3"): 1,
    }


async def test_keep_only_lengthens(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    foreign = await plant_foreign_keys(client)
    await client.pipeline(
        [
            ("SET", "user:v1:short", "x", "PX", 50_000),
            ("SET", "user:v1:long", "x", "PX", 900_000),
            ("SET", "user:v1:immortal", "x"),
            ("SET", "user:v2:short", "x", "PX", 50_000),
        ]
    )
    before = await dump(client)
    keep = Keep(shared_redis.server, [users], version="v1", ttl_seconds=600, limits=FAST)
    report = await keep.run()
    after = await dump(client)
    assert 590_000 < await client.call("PTTL", "user:v1:short") <= 600_000
    assert (report.families[0].lengthened, report.families[0].unchanged) == (1, 2)
    del before[b"user:v1:short"], after[b"user:v1:short"]
    assert before == after
    assert foreign.items() <= after.items()


async def test_survey_counts_exactly_and_weighs_by_sample(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    await plant_foreign_keys(client)
    await fill(client, "v1", 700)
    await client.pipeline([("SET", "user:v2:1", "x"), ("SET", "booking:v1:list:1", "x")])
    await client.call("CONFIG", "SET", "maxmemory", "1gb")
    try:
        report = await Survey(shared_redis.server, [users, bookings], ["v1", "v2"], FAST).run()
    finally:
        await client.call("CONFIG", "SET", "maxmemory", "0")
    v1, v2 = report.of("user", "v1"), report.of("user", "v2")
    assert (v1.keys, v1.keys_without_ttl) == (700 + len(ODD_IDS), 0)
    assert (v2.keys, v2.keys_without_ttl) == (1, 1)
    assert report.of("booking", "v2").keys == 0
    exact = sum(
        await client.pipeline(
            [("MEMORY", "USAGE", key) for key in await client.call("KEYS", "user:v1:?*")]
        )
    )
    assert v1.bytes == pytest.approx(exact, rel=0.05)
    assert v1.weighed < v1.keys
    assert report.memory.limit_bytes == 1024**3
    assert 0 < (report.memory.used_percent or 0) < 20


async def test_a_quick_survey_extrapolates(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    await fill(client, "v1", 20_000)
    survey = Survey(shared_redis.server, [users], ["v1"], FAST, examine_at_most=4_000)
    report = await survey.run()
    assert report.of("user", "v1").keys == pytest.approx(20_000, rel=0.15)
    assert survey.progress.done < 6_000


GOOD = json.dumps({"id": 1, "email": "a@b"})
CASES: dict[str, tuple[list[Any], Callable[[Any], bool]]] = {
    "a good value": (["SET", "k", GOOD, "PX", 99_999], lambda v: v.corrupt == 0),
    "a missing field": (
        ["SET", "k", '{"id": 1}'],
        lambda v: v.incomplete == 1 and v.missing == {"email": 1},
    ),
    "not JSON": (["SET", "k", b"\x80\x04pickle"], lambda v: v.undecodable == 1),
    "cut short": (["SET", "k", GOOD[:-3]], lambda v: v.undecodable == 1),
    "null": (["SET", "k", "null"], lambda v: v.incomplete == 1),
    "a list": (["SET", "k", "[]"], lambda v: v.incomplete == 1),
    "nested too deep": (["SET", "k", "[" * 200_000], lambda v: v.undecodable == 1),
    "another type": (["HSET", "k", "id", "1"], lambda v: v.undecodable == 1),
    "no TTL": (["SET", "k", GOOD], lambda v: v.without_ttl == 1 and v.corrupt == 0),
    "too large": (["SET", "k", "x" * 1_100_000], lambda v: v.oversized == 1 and v.sampled == 0),
}


@pytest.mark.parametrize("case", CASES)
async def test_verify_judges_a_value(
    client: Connection, shared_redis: RedisProcess, case: str
) -> None:
    command, is_right = CASES[case]
    template = KeyTemplate.parse("user:{version}:{id}", PREFIXES)
    family = Family("user", template, required=("id", "email"))
    await client.call(*(b"user:v1:1" if part == "k" else part for part in command))
    report = await Verify(shared_redis.server, [family], version="v1").run()
    assert is_right(report.families[0]), report


async def test_verify_finds_the_share_of_corrupt_values(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    await plant_foreign_keys(client)
    await client.pipeline(
        [
            ("SET", f"user:v2:{i}", "{}" if i % 5 == 0 else '{"id": 1}', "PX", 99_999)
            for i in range(5000)
        ]
    )
    verify = Verify(shared_redis.server, [users, bookings], version="v2", sample=400)
    user, booking = (await verify.run()).families
    assert user.sampled == 400
    assert user.incomplete == pytest.approx(80, abs=35)
    assert booking.sampled == 0


async def test_hot_finds_what_is_read_and_coverage_what_is_there(
    own_redis: RedisProcess, users: Family
) -> None:
    client = await own_redis.connect()
    await client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    await fill(client, "v1", 2000)
    hot_ids = {b"%d" % i for i in range(0, 2000, 100)}
    for _ in range(30):
        await client.pipeline([("GET", b"user:v1:" + i) for i in hot_ids])
    report = await Hot(own_redis.server, [users], version="v1", top=20).run()
    assert report.measure == "frequency"
    assert set(report.families[0].ids) == hot_ids
    ids = report.families[0].ids
    await client.pipeline([("SET", b"user:v2:" + i, "x") for i in ids[:15]])
    coverage = await Coverage(own_redis.server, users, version="v2", ids=ids).run()
    assert (coverage.sampled, coverage.present, coverage.share) == (20, 15, 0.75)
    nothing = await Coverage(own_redis.server, users, version="v2", ids=[]).run()
    assert nothing.share == 1.0
    await client.wait_closed()


async def test_hot_goes_by_recency_without_an_lfu_policy(
    own_redis: RedisProcess, users: Family
) -> None:
    client = await own_redis.connect()
    await fill(client, "v1", 300)
    await client.call("DEBUG", "SLEEP", "1.2")
    await client.pipeline([("GET", f"user:v1:{i}") for i in range(10)])
    report = await Hot(own_redis.server, [users], version="v1", top=10).run()
    assert report.measure == "idle"
    assert set(report.families[0].ids) == {b"%d" % i for i in range(10)}
    await client.wait_closed()
