"""The mirror against a real server: what it carries over, what it must never bring back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from cacherollout.cache import (
    Connection,
    Copy,
    Family,
    Limits,
    Mirror,
    RefusedError,
    Retire,
    Standalone,
    TemplateError,
    Writes,
    key_of,
    probe,
)
from cacherollout.cache.servers import Watchable
from tests.contract.cache.conftest import (
    Caller,
    RedisProcess,
    dump,
    plant_foreign_keys,
    running,
    until,
)
from tests.contract.cache.proxies import Proxy

BOTH = ("v2", "v3")
TTL = ("PX", 100_000)
FAST = Limits.unthrottled()


@asynccontextmanager
async def mirroring(
    server: Watchable, families: Sequence[Family], **options: Any
) -> AsyncIterator[Mirror]:
    settings = {"stable": "v2", "target": "v3", "serving": BOTH, "limits": FAST}
    mirror = Mirror(server, families, **(settings | options))
    async with running(mirror.run()):
        await mirror.coherent()
        yield mirror


async def settle(mirror: Mirror, client: Caller) -> None:
    """Wait until everything done so far is mirrored, by following a marker through and back.

    Changes are applied in the order of their pushes, so what came before the marker is done.
    """
    (family, *_), (here, there) = mirror._scope.families, BOTH
    mine, other = key_of(family, here, b"marker"), key_of(family, there, b"marker")
    await client.call("DEL", mine, other)
    await client.call("SET", other, "x", *TTL)
    await settled_pushes(mirror)
    await client.call("SET", mine, "y", *TTL)
    await client.call("DEL", mine)
    await until_gone(client, other)
    await settled_pushes(mirror)


async def until_gone(client: Caller, key: str | bytes) -> None:
    async def is_gone() -> bool:
        return not await client.call("EXISTS", key)

    await until(is_gone)


async def settled_pushes(mirror: Mirror) -> None:
    """Wait until what was pushed by now is taken up."""
    await ping(mirror)
    await ping(mirror)
    await until(lambda: not mirror.state.pending)
    await ping(mirror)


async def ping(mirror: Mirror) -> None:
    """A round trip to each server over the mirror's connections."""
    for peer in mirror.channel().peers():
        await peer.pipeline([("PING",)])


async def test_what_stable_fills_the_target_gets_with_the_same_ttl_and_nothing_flows_back(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    async with mirroring(shared_redis.server, [users]) as mirror:
        foreign = await plant_foreign_keys(client)
        await client.call("SET", "user:v2:1", "a", *TTL)
        await client.call("SET", "user:v3:2", "b", "PX", 50_000)
        await client.call("HSET", b"user:v2:*[\xff", "f", "v")
        await settle(mirror, client)
        state = await dump(client)
        assert state[b"user:v3:1"] == state[b"user:v2:1"]
        assert b"user:v2:2" not in state, "a value of the version on trial reached stable"
        assert state[b"user:v2:*[\xff"] == state[b"user:v3:*[\xff"]
        assert len(state) == len(foreign) + 5
        assert foreign.items() <= state.items()
        assert mirror.state.mirrored >= 2
        assert 0 < mirror.state.lag_p50_seconds <= mirror.state.lag_p99_seconds < 0.5


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(
    "change",
    [
        ("DEL", "{key}"),
        ("UNLINK", "{key}"),
        ("PEXPIRE", "{key}", 1),
        ("RENAME", "{key}", "elsewhere"),
        ("EVAL", "redis.call('DEL', KEYS[1])", 1, "{key}"),
    ],
    ids=lambda change: change[0],
)
async def test_what_is_removed_under_one_version_is_removed_under_the_other(
    client: Connection,
    shared_redis: RedisProcess,
    users: Family,
    change: tuple[Any, ...],
    version: str,
) -> None:
    async with mirroring(shared_redis.server, [users]) as mirror:
        await client.call("SET", "user:v2:1", "a", *TTL)
        await settle(mirror, client)
        assert await client.call("EXISTS", "user:v2:1", "user:v3:1") == 2
        key = f"user:{version}:1"
        await client.call(
            *(part.replace("{key}", key) if isinstance(part, str) else part for part in change)
        )
        await until_gone(client, key)
        await settle(mirror, client)
        assert await client.call("EXISTS", "user:v2:1", "user:v3:1") == 0


@pytest.mark.parametrize(("version", "values"), [("v2", [b"new", b"new"]), ("v3", [None, b"new"])])
async def test_what_is_overwritten_under_stable_is_overwritten_under_the_target_else_removed(
    client: Connection,
    shared_redis: RedisProcess,
    users: Family,
    version: str,
    values: list[bytes | None],
) -> None:
    async with mirroring(shared_redis.server, [users]) as mirror:
        await client.call("SET", "user:v2:1", "old", *TTL)
        await settle(mirror, client)
        await client.call("SET", f"user:{version}:1", "new", *TTL)
        await settle(mirror, client)
        assert await client.call("MGET", "user:v2:1", "user:v3:1") == values


async def test_values_that_cannot_be_converted_are_not_carried_over_but_removed(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    async with mirroring(shared_redis.server, [users, bookings]) as mirror:
        await client.call("SET", "booking:v2:list:1", "old shape", *TTL)
        await settle(mirror, client)
        assert await client.call("EXISTS", "booking:v3:list:1") == 0
        await client.call("SET", "booking:v3:list:1", "new shape", *TTL)
        await settle(mirror, client)
        assert await client.call("GET", "booking:v2:list:1") == b"old shape", "a SET is a fill"
        await client.call("DEL", "booking:v2:list:1")
        await settle(mirror, client)
        assert await client.call("EXISTS", "booking:v3:list:1") == 0


async def test_under_write_through_every_set_removes_the_counterpart(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    through = replace(bookings, writes=Writes.WRITE_THROUGH)
    await client.call("SET", "booking:v2:list:1", "old shape", *TTL)
    async with mirroring(shared_redis.server, [users, through], serving=("v2",)) as mirror:
        mirror.serving = BOTH
        await client.call("SET", "booking:v3:list:1", "new shape", *TTL)
        await settle(mirror, client)
        assert await client.call("EXISTS", "booking:v2:list:1") == 0
        assert await client.call("EXISTS", "booking:v3:list:1") == 1


async def test_a_deletion_of_an_uncached_key_pushes_nothing(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    """The limit that the documentation states, and the way around it that it names."""
    async with mirroring(shared_redis.server, [users, bookings]) as mirror:
        await client.call("SET", "booking:v3:list:1", "stale", *TTL)
        await client.call("DEL", "booking:v2:list:1")
        await settle(mirror, client)
        assert await client.call("EXISTS", "booking:v3:list:1") == 1
        await client.call("DEL", "booking:v2:list:1", "booking:v3:list:1")
        await settle(mirror, client)
        assert await client.call("EXISTS", "booking:v3:list:1") == 0


async def test_a_version_that_does_not_serve_cannot_hurt_the_one_that_does(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    await client.pipeline([("SET", f"user:v2:{i}", "x", *TTL) for i in range(500)])
    await client.pipeline([("SET", f"booking:v2:list:{i}", "x", *TTL) for i in range(50)])
    async with mirroring(shared_redis.server, [users, bookings], serving=("v2",)) as mirror:
        await Copy(mirror.server, [users], source="v2", target="v3", limits=FAST).run()
        assert await client.call("DBSIZE") == 1050
        await client.call("SET", "booking:v3:list:1", "x", *TTL)
        # Not over mirror.server: somebody forgot.
        await Retire(shared_redis.server, [users, bookings], versions=["v3"], limits=FAST).run()
        await settle(mirror, client)
        assert await client.call("DBSIZE") == 550


async def test_the_copier_does_not_echo_and_does_not_bring_back_a_deleted_value(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    """A deletion under the target, then its key copied, before the mirror hears of the deletion."""
    async with Proxy(shared_redis.port) as proxy:
        await client.call("SET", "user:v2:1", "old", *TTL)
        await client.call("SET", "user:v2:2", "old", *TTL)
        async with mirroring(Standalone(proxy.endpoint), [users], serving=("v2",)) as mirror:
            await Copy(mirror.server, [users], source="v2", target="v3", limits=FAST).run()
            mirror.serving = BOTH
            await settle(mirror, client)
            mirrored = mirror.state.mirrored
            channel = mirror.channel()
            proxy.replies.clear()
            await client.call("DEL", "user:v3:1")
            page = channel.submit([(b"COPY", b"user:v2:1", b"user:v3:1")])
            await until(lambda: client.call("EXISTS", "user:v3:1"))
            proxy.replies.set()
            assert await channel.finish(page) == [1], "the copier did bring it back"
            await settle(mirror, client)
            assert await client.call("EXISTS", "user:v2:1", "user:v3:1") == 0
            assert await client.call("EXISTS", "user:v2:2", "user:v3:2") == 2
            assert mirror.state.mirrored <= mirrored + 1, "no echo beyond the marker"


async def test_the_mirror_does_not_bring_back_a_deleted_value(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    """A fill under v2 and a deletion under v3 cross: the copy of the fill lands after it."""
    async with Proxy(shared_redis.port) as proxy:
        await client.call("SET", "user:v2:1", "old", *TTL)
        await client.call("SET", "user:v3:1", "old", *TTL)
        async with mirroring(Standalone(proxy.endpoint), [users]) as mirror:
            proxy.requests.clear()
            await client.call("SET", "user:v2:1", "stale", *TTL)
            await client.call("DEL", "user:v3:1")
            proxy.requests.set()
            await settle(mirror, client)
            assert await client.call("EXISTS", "user:v2:1", "user:v3:1") == 0


async def test_a_deleted_hash_is_not_brought_back_either(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    """A copy of a large hash may hold its fields in another order, so its bytes prove nothing."""
    fields = [part for i in range(2000) for part in (f"field{i}", "x")]
    async with (
        Proxy(shared_redis.port) as proxy,
        mirroring(Standalone(proxy.endpoint), [users]) as mirror,
    ):
        for key in ("user:v2:1", "user:v3:1"):
            await client.pipeline([("HSET", key, *fields), ("PEXPIRE", key, 100_000)])
        await settle(mirror, client)
        await client.pipeline([("HSET", "user:v2:1", *fields), ("PEXPIRE", "user:v2:1", 90_000)])
        await settle(mirror, client)
        assert await client.call("EXISTS", "user:v2:1", "user:v3:1") == 2
        channel = mirror.channel()
        proxy.replies.clear()
        await client.call("DEL", "user:v3:1")
        page = channel.submit([(b"COPY", b"user:v2:1", b"user:v3:1")])
        await until(lambda: client.call("EXISTS", "user:v3:1"))
        proxy.replies.set()
        await channel.finish(page)
        await settle(mirror, client)
        assert await client.call("EXISTS", "user:v2:1", "user:v3:1") == 0


async def test_equal_fills_of_both_versions_at_once_both_stay(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    """A herd on a hot id: were they taken for a conflict, they would be removed for ever."""
    async with (
        Proxy(shared_redis.port) as proxy,
        mirroring(Standalone(proxy.endpoint), [users]) as mirror,
    ):
        for ttl in range(100_000, 100_040, 2):
            await client.call("SET", "user:v2:1", "same", "PX", ttl)
            await client.call("SET", "user:v3:1", "same", "PX", ttl + 1000)
        await settle(mirror, client)
        assert await client.call("EXISTS", "user:v2:1", "user:v3:1") == 2
        proxy.replies.clear()
        await client.call("SET", "user:v2:1", "one", *TTL)
        await client.call("SET", "user:v3:1", "other", *TTL)
        proxy.replies.set()
        await settle(mirror, client)
        assert await client.call("EXISTS", "user:v2:1", "user:v3:1") == 0, "nobody knows"


async def test_a_lost_connection_is_declared_and_repaired(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    async with (
        Proxy(shared_redis.port) as proxy,
        mirroring(Standalone(proxy.endpoint), [users]) as mirror,
    ):
        await client.pipeline([("SET", f"user:v2:{i}", "old", *TTL) for i in range(100)])
        await settle(mirror, client)
        assert (mirror.state.gaps, mirror.state.incoherent_seconds) == (0, None)
        proxy.replies.clear()
        proxy.cut()
        await until(lambda: not mirror.state.is_coherent)
        state = mirror.state
        assert state.gaps == 1
        assert state.incoherent_seconds is not None
        await client.call("DEL", "user:v2:1")
        await client.call("SET", "user:v3:2", "new", *TTL)
        proxy.replies.set()
        await mirror.coherent()
        assert await client.call("EXISTS", "user:v2:1", "user:v3:1") == 0
        assert await client.call("EXISTS", "user:v2:2", "user:v3:2") == 0
        assert await client.call("EXISTS", "user:v2:3", "user:v3:3") == 2
        assert await client.call("DBSIZE") == 2 * 98
        await client.call("SET", "user:v2:2", "later", *TTL)
        await settle(mirror, client)
        assert await client.call("GET", "user:v3:2") == b"later"


async def test_a_half_open_connection_is_noticed(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    limits = replace(FAST, timeout_seconds=0.3)
    async with (
        Proxy(shared_redis.port) as proxy,
        mirroring(Standalone(proxy.endpoint), [users], limits=limits) as mirror,
    ):
        proxy.replies.clear()
        async with asyncio.timeout(3):
            await until(lambda: not mirror.state.is_coherent)
        await client.call("SET", "user:v2:1", "x", *TTL)
        proxy.replies.set()
        await mirror.coherent()
        assert mirror.state.gaps == 1
        assert await client.call("DBSIZE") == 0


@pytest.mark.parametrize("serving", ["v2", "v3"])
async def test_a_repair_trusts_the_version_that_serves(
    client: Connection, shared_redis: RedisProcess, users: Family, serving: str
) -> None:
    standby = "v3" if serving == "v2" else "v2"
    await client.pipeline(
        [
            ("SET", f"user:{serving}:only", "x", *TTL),
            ("SET", f"user:{serving}:differs", "right", *TTL),
            ("SET", f"user:{standby}:differs", "wrong", *TTL),
            ("SET", f"user:{standby}:only-standby", "x", *TTL),
            ("SET", f"user:{serving}:same", "x", "PX", 90_000),
            ("SET", f"user:{standby}:same", "x", "PX", 80_000),
        ]
    )
    foreign = await plant_foreign_keys(client)
    before = {k: v for k, v in foreign.items() if not k.startswith(f"user:{standby}:".encode())}
    async with mirroring(shared_redis.server, [users], serving=(serving,)) as mirror:
        state = await dump(client)
        assert before.items() <= state.items(), "neither the serving version nor foreign keys"
        added = {k: v for k, v in state.items() if k not in before}
        expected = {f"user:{standby}:same".encode(): state[f"user:{standby}:same".encode()]}
        if serving == "v2":  # values of the target never reach the stable version
            expected[b"user:v3:differs"] = state[b"user:v2:differs"]
        assert added == expected
        assert mirror.state.repaired == 2


@pytest.mark.parametrize(
    ("serving", "gap_seconds", "stays"),
    [
        # Both filled before the gap: sure. Refilled since: not. Alone: only if it carries the load.
        (BOTH, 10, {"v2:old", "v3:old", "v2:alone", "v2:new-in-2", "v3:new-in-3"}),
        (
            ("v2",),
            10,
            {"v2:old", "v3:old", "v2:alone", "v2:new-in-2", "v2:new-in-3", "v3:new-in-3"},
        ),
        (BOTH, None, {"v2:alone"}),
        (("v2",), None, {"v2:old", "v2:alone", "v2:new-in-2", "v2:new-in-3"}),
    ],
)
async def test_a_repair_of_values_that_cannot_be_compared_goes_by_age(
    client: Connection,
    shared_redis: RedisProcess,
    bookings: Family,
    serving: tuple[str, ...],
    gap_seconds: float | None,
    stays: set[str],
) -> None:
    ages = {"v2:old": 200, "v3:old": 100, "v2:alone": 100, "v3:alone-3": 100}
    ages |= {"v2:new-in-2": 295, "v3:new-in-2": 100, "v2:new-in-3": 100, "v3:new-in-3": 295}
    for name, ttl in ages.items():
        version, _, identifier = name.partition(":")
        await client.call("SET", f"booking:{version}:list:{identifier}", "x", "EX", ttl)
    async with mirroring(shared_redis.server, [bookings], serving=serving, gap_seconds=gap_seconds):
        state = await dump(client)
    assert {key.decode().replace("booking:", "").replace("list:", "") for key in state} == stays


async def test_two_mirrors_do_not_echo_for_ever(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    async with (
        mirroring(shared_redis.server, [users]) as one,
        mirroring(shared_redis.server, [users]) as two,
    ):
        await client.call("SET", "user:v2:1", "x", *TTL)
        await settle(one, client)
        await settle(two, client)
        assert one.state.mirrored + two.state.mirrored < 10


async def test_too_many_changes_at_once_become_a_gap_not_a_memory_leak(
    client: Connection,
    shared_redis: RedisProcess,
    users: Family,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cacherollout.cache.changes.MAX_PENDING", 200)
    async with mirroring(shared_redis.server, [users]) as mirror:
        await client.pipeline([("SET", f"user:v2:{i}", "x", *TTL) for i in range(5000)])
        await until(lambda: mirror.state.gaps)
        await mirror.coherent()
        state = await dump(client)
        assert {k for k in state if b":v2:" in k} == {
            k.replace(b"v3", b"v2") for k in state if b":v3:" in k
        }


async def test_a_restarted_server_is_mirrored_again(own_redis: RedisProcess, users: Family) -> None:
    async with mirroring(own_redis.server, [users]) as mirror:
        own_redis.kill()
        await until(lambda: not mirror.state.is_coherent)
        own_redis.start()
        await mirror.coherent()
        client = await own_redis.connect()
        await client.call("SET", "user:v2:1", "x", *TTL)
        await settle(mirror, client)
        assert await client.call("EXISTS", "user:v3:1") == 1
        await client.wait_closed()


async def test_a_flushed_script_is_loaded_again(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    async with mirroring(shared_redis.server, [users]) as mirror:
        await client.call("SET", "user:v2:1", "old", *TTL)
        await settle(mirror, client)
        await client.pipeline([("SCRIPT", "FLUSH"), ("SET", "user:v2:1", "new", *TTL)])
        await until(lambda: mirror.state.gaps)
        await mirror.coherent()
        assert await client.call("MGET", "user:v2:1", "user:v3:1") in (
            [b"new", b"new"],
            [None, None],
        )


async def test_a_mirror_never_makes_a_server_evict(own_redis: RedisProcess, users: Family) -> None:
    client = await own_redis.connect()
    await client.call("SET", "user:v2:both", "old", *TTL)
    await client.call("SET", "user:v2:gone", "old", *TTL)
    await client.call("SETRANGE", "filler", 10_000_000, "x")  # dwarfs what buffers take
    async with mirroring(own_redis.server, [users], serving=("v2",)) as mirror:
        await Copy(mirror.server, [users], source="v2", target="v3", limits=FAST).run()
        used = (await probe(own_redis.server)).memory.used_bytes
        await client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await client.call("CONFIG", "SET", "maxmemory", used * 100 // 92)
        await until(lambda: not mirror.state.has_room)
        await client.call("SET", "user:v2:new", "x", *TTL)
        await client.call("SET", "user:v2:both", "new", *TTL)
        await client.call("DEL", "user:v2:gone")
        await until_gone(client, "user:v3:gone")
        assert await client.call("EXISTS", "user:v3:new") == 0
        assert await client.call("GET", "user:v3:both") == b"new"
        await client.call("CONFIG", "SET", "maxmemory", 0)
        await until(lambda: mirror.state.has_room)
        await client.call("SET", "user:v2:new", "y", *TTL)
        await until(lambda: client.call("EXISTS", "user:v3:new"))
    await client.wait_closed()


async def test_a_full_server_makes_the_mirror_remove_instead_of_copy(
    own_redis: RedisProcess, users: Family
) -> None:
    client = await own_redis.connect()
    async with mirroring(own_redis.server, [users]) as mirror:
        await client.call("SET", "user:v2:1", "old", *TTL)
        await settle(mirror, client)
        await client.pipeline(
            [("SET", "user:v2:1", "new", "KEEPTTL"), ("CONFIG", "SET", "maxmemory", 1)]
        )
        await until_gone(client, "user:v3:1")
        assert await client.call("GET", "user:v3:1") is None
        assert mirror.state.is_coherent
    await client.wait_closed()


async def test_without_the_right_to_track_the_mirror_says_so(
    own_redis: RedisProcess, users: Family
) -> None:
    client = await own_redis.connect()
    await client.call(
        *["ACL", "SETUSER", "engine", "on", ">pw", "~user:*", "+@all", "-client|tracking"]
    )
    server = Standalone(replace(own_redis.endpoint, username="engine", password="pw"))
    mirror = Mirror(server, [users], stable="v2", target="v3", serving=BOTH)
    with pytest.raises(RefusedError, match="tracking"):
        await mirror.run()
    rights = (
        "-@all +client|tracking +script|load +evalsha +exists +copy +unlink +dump +type +pttl +ping"
    )
    await client.call(*f"ACL SETUSER engine {rights} +info +dbsize +scan".split())
    async with mirroring(server, [users]) as mirror:
        await client.call("SET", "user:v2:1", "x", *TTL)
        await until(lambda: client.call("EXISTS", "user:v3:1"))
    await client.wait_closed()


def test_nonsense_is_refused(users: Family, shared_redis: RedisProcess) -> None:
    server = shared_redis.server
    with pytest.raises(TemplateError, match="target"):
        Mirror(server, [users], stable="v2", target="v2", serving=("v2",))
    for serving in ((), ("v4",), ("v2", "v4")):
        with pytest.raises(TemplateError, match="serving"):
            Mirror(server, [users], stable="v2", target="v3", serving=serving)


def deleting_all(family: Family, *, is_compatible: bool) -> Family:
    return replace(family, is_compatible=is_compatible, writes=Writes.INVALIDATE_ALL)


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("is_compatible", [True, False])
async def test_where_all_versions_are_deleted_an_expiry_leaves_the_other_key(
    client: Connection,
    shared_redis: RedisProcess,
    users: Family,
    bookings: Family,
    version: str,
    *,
    is_compatible: bool,
) -> None:
    family = deleting_all(bookings, is_compatible=is_compatible)
    async with mirroring(shared_redis.server, [users, family]) as mirror:
        for each in BOTH:
            await client.call("SET", f"booking:{each}:list:1", "x", *TTL)
            await settle(mirror, client)
        await client.call("PEXPIRE", f"booking:{version}:list:1", 100)
        await settle(mirror, client)
        await until_gone(client, f"booking:{version}:list:1")
        await settle(mirror, client)
        other = next(each for each in BOTH if each != version)
        assert await client.call("EXISTS", f"booking:{other}:list:1") == 1
        # What the application does instead, whether it has both keys cached or only one.
        await client.call("DEL", *(f"booking:{each}:list:1" for each in BOTH))
        await settle(mirror, client)
        assert await client.call("EXISTS", *(f"booking:{each}:list:1" for each in BOTH)) == 0


async def test_where_all_versions_are_deleted_values_still_flow_to_the_target_alone(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    family = deleting_all(bookings, is_compatible=True)
    async with mirroring(shared_redis.server, [users, family]) as mirror:
        await client.call("SET", "booking:v2:list:1", "a", *TTL)
        await client.call("SET", "booking:v3:list:2", "b", *TTL)
        await settle(mirror, client)
        keys = [f"booking:{version}:list:{number}" for number in "12" for version in BOTH]
        assert await client.call("MGET", *keys) == [b"a", b"a", None, b"b"]
        await client.call("SET", "booking:v3:list:1", "of the trial", *TTL)
        await settle(mirror, client)
        assert await client.call("MGET", *keys[:2]) == [b"a", b"of the trial"]
        await client.call("SET", "booking:v2:list:1", "newer", *TTL)
        await settle(mirror, client)
        assert await client.call("MGET", *keys[:2]) == [b"newer", b"newer"]


async def test_where_all_versions_are_deleted_the_copier_still_brings_nothing_back(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    """As where one command cannot reach both: the target's key deleted first, then copied."""
    family = deleting_all(bookings, is_compatible=True)
    async with Proxy(shared_redis.port) as proxy:
        await client.call("SET", "booking:v2:list:1", "old", *TTL)
        async with mirroring(Standalone(proxy.endpoint), [users, family]) as mirror:
            await client.call("SET", "booking:v3:list:1", "old", *TTL)
            await settle(mirror, client)
            channel = mirror.channel()
            proxy.replies.clear()
            await client.call("DEL", "booking:v3:list:1")
            page = channel.submit([(b"COPY", b"booking:v2:list:1", b"booking:v3:list:1")])
            await until(lambda: client.call("EXISTS", "booking:v3:list:1"))
            proxy.replies.set()
            assert await channel.finish(page) == [1], "the copier did bring it back"
            await settle(mirror, client)
            assert await client.call("EXISTS", *(f"booking:{each}:list:1" for each in BOTH)) == 0


async def test_where_all_versions_are_deleted_a_gap_costs_nothing_once_both_serve(
    client: Connection, shared_redis: RedisProcess, users: Family, bookings: Family
) -> None:
    families = [
        deleting_all(users, is_compatible=True),
        deleting_all(bookings, is_compatible=False),
    ]
    await client.pipeline(
        [("SET", f"{stem}:1", stem, *TTL) for stem in ("user:v2", "user:v3", "booking:v3:list")]
    )
    async with mirroring(shared_redis.server, families) as mirror:
        assert mirror.state.repaired == 0
        assert await client.call("DBSIZE") == 3
    async with mirroring(shared_redis.server, families, serving=("v2",)) as mirror:
        assert await client.call("EXISTS", "booking:v3:list:1") == 0, "older than the promise"
        assert await client.call("MGET", "user:v2:1", "user:v3:1") == [b"user:v2", b"user:v2"]


async def test_where_nothing_is_mirrored_the_server_pushes_nothing(
    client: Connection, shared_redis: RedisProcess, bookings: Family
) -> None:
    family = deleting_all(bookings, is_compatible=False)
    async with mirroring(shared_redis.server, [family]) as mirror:
        told = (await client.call("INFO", "clients")).decode()
        assert "tracking_clients:0" in told
        await client.call("SET", "booking:v2:list:1", "x", *TTL)
        await settled_pushes(mirror)
        assert mirror.state.is_coherent
