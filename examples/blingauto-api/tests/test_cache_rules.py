"""The cache's rules by themselves, where a race has to be staged: no server, no waiting."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisConnectionError

from blingauto.cache.aside import CacheAside
from blingauto.cache.breaker import CircuitBreaker
from blingauto.cache.codec import JsonCodec
from blingauto.cache.families import Family
from blingauto.cache.flights import Flights
from blingauto.cache.instruments import CacheInstruments
from blingauto.cache.invalidations import Deletion, Invalidations
from blingauto.cache.store import RedisStore
from blingauto.cache.versions import VersionsInUse
from blingauto.views import View


class Thing(View):
    id: int
    size: int


VERSIONS_KEY = "things:versions"
THINGS = Family("thing", "thing:{version}:{id}", JsonCodec(Thing))


class FakeRedis:
    """Keys in memory; `is_away` makes every command fail, `hangs` makes it never end."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.is_away = False
        self.hangs = False
        self.deletes: list[tuple[str, ...]] = []
        self.gets: list[str] = []

    async def get(self, name: str, /) -> bytes | None:
        self.gets.append(name)
        await self._check()
        return self.values.get(name)

    async def set(self, name: str, value: bytes, /, *, px: int) -> None:
        await self._check()
        self.values[name] = value

    async def delete(self, /, *names: str) -> None:
        await self._check()
        self.deletes.append(names)
        for name in names:
            self.values.pop(name, None)

    async def _check(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_away:
            raise RedisConnectionError("away")


class World:
    """A cache over a fake Redis, and a clock that only the test moves."""

    def __init__(self, timeout_seconds: float = 1.0) -> None:
        self.now = 0.0
        self.redis = FakeRedis()
        self.registry = CollectorRegistry()
        instruments = CacheInstruments(self.registry, "v1", ("thing",))
        self.store = RedisStore(
            self.redis,
            instruments=instruments,
            timeout_seconds=timeout_seconds,
            clock=lambda: self.now,
        )
        self.versions = VersionsInUse(
            self.store,
            own="v1",
            key=VERSIONS_KEY,
            instruments=instruments,
            clock=lambda: self.now,
        )
        self.invalidations = Invalidations(
            self.store,
            self.versions,
            instruments=instruments,
            second_delete_seconds=1.0,
            clock=lambda: self.now,
        )
        self.cache = CacheAside(
            self.store,
            self.invalidations,
            instruments=instruments,
            version="v1",
            ttl_seconds=300,
            ttl_jitter_percent=50,
            l1_entries=10,
            l1_ttl_seconds=5,
            clock=lambda: self.now,
        )

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, {"version": "v1", **labels}) or 0.0


def loading(value: Thing | None) -> Callable[[], Any]:
    async def load() -> Thing | None:
        return value

    return load


async def test_what_was_read_before_a_write_is_not_stored_after_it() -> None:
    world = World()
    was_read, may_go_on = asyncio.Event(), asyncio.Event()

    async def load() -> Thing:
        was_read.set()
        await may_go_on.wait()
        return Thing(id=1, size=1)

    reader = asyncio.create_task(world.cache.get(THINGS, 1, load))
    await was_read.wait()
    await world.cache.invalidate([THINGS], 1)
    late = asyncio.create_task(world.cache.get(THINGS, 1, loading(Thing(id=1, size=2))))
    assert (await late) == Thing(id=1, size=2)
    may_go_on.set()
    assert (await reader) == Thing(id=1, size=1)
    assert b'"size":2' in world.redis.values["thing:v1:1"]


async def test_a_write_deletes_all_versions_in_one_command() -> None:
    world = World()
    world.redis.values[VERSIONS_KEY] = b"v0,v1,v2"
    await world.cache.invalidate([THINGS], 1)
    assert world.redis.deletes == [("thing:v1:1", "thing:v0:1", "thing:v2:1")]


async def test_without_a_key_only_our_own_version_is_deleted_and_nothing_is_read() -> None:
    world = World()
    world.versions._key = None
    await world.cache.invalidate([THINGS], 1)
    assert world.redis.deletes == [("thing:v1:1",)]
    assert world.redis.gets == []


async def test_the_versions_are_read_once_a_second_at_most() -> None:
    world = World()
    for entity_id in range(5):
        await world.cache.invalidate([THINGS], entity_id)
    assert world.redis.gets == [VERSIONS_KEY]
    world.redis.values[VERSIONS_KEY] = b"v1,v2"
    await world.cache.invalidate([THINGS], 1)
    assert world.redis.deletes[-1] == ("thing:v1:1",), "a missing key is kept for a second, too"
    world.now = 1.0
    await world.cache.invalidate([THINGS], 1)
    assert world.redis.deletes[-1] == ("thing:v1:1", "thing:v2:1")


@pytest.mark.parametrize("value", [None, b"", b"v1,", b"v1,v 2", b"v1," * 100 + b"v1", b"v\xff"])
async def test_a_lost_or_senseless_key_leaves_the_versions_known_before(
    value: bytes | None,
) -> None:
    world = World()
    world.redis.values[VERSIONS_KEY] = b"v1,v2"
    await world.cache.invalidate([THINGS], 1)
    world.redis.values.pop(VERSIONS_KEY)
    if value is not None:
        world.redis.values[VERSIONS_KEY] = value
    world.now = 1.0
    await world.cache.invalidate([THINGS], 2)
    assert world.redis.deletes[-1] == ("thing:v1:2", "thing:v2:2")
    assert world.count("cache_versions_unread_total") == (value is not None)


async def test_versions_that_cannot_be_read_are_counted_and_asked_for_again_at_once() -> None:
    world = World()
    world.redis.is_away = True
    await world.cache.invalidate([THINGS], 1)
    assert world.count("cache_versions_unread_total") == 1
    assert world.invalidations.waiting == 1
    world.redis.is_away = False
    world.redis.values[VERSIONS_KEY] = b"v1,v2"
    await world.invalidations.flush()
    assert world.redis.deletes == [("thing:v1:1", "thing:v2:1")], "as of when it was sent"


async def test_the_second_delete_reaches_a_version_that_came_after_the_first() -> None:
    world = World()
    await world.cache.invalidate([THINGS], 1)
    world.redis.values[VERSIONS_KEY] = b"v1,v2"
    world.now = 1.0
    await world.invalidations.flush()
    assert world.redis.deletes == [("thing:v1:1",), ("thing:v1:1", "thing:v2:1")]


async def test_a_key_with_an_owed_delete_is_neither_read_nor_filled() -> None:
    world = World()
    await world.cache.get(THINGS, 1, loading(Thing(id=1, size=1)))
    world.redis.is_away = True
    await world.cache.invalidate([THINGS], 1)
    world.redis.is_away = False
    new = Thing(id=1, size=2)
    assert await world.cache.get(THINGS, 1, loading(new)) == new
    assert b'"size":1' in world.redis.values["thing:v1:1"]
    assert world.count("cache_lookups_total", family="thing", result="error") == 1
    await world.invalidations.flush()
    assert world.redis.values == {}
    assert world.invalidations.waiting == 0
    await world.cache.get(THINGS, 1, loading(new))
    assert b'"size":2' in world.redis.values["thing:v1:1"]


async def test_owed_deletes_are_bounded_and_the_dropped_ones_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("blingauto.cache.invalidations._MOST_WAITING", 3)
    world = World()
    world.redis.is_away = True
    for entity_id in range(5):
        await world.cache.invalidate([THINGS], entity_id)
    assert world.invalidations.waiting == 3
    assert world.count("cache_invalidations_dropped_total") == 2
    assert not world.invalidations.is_unconfirmed("thing:v1:0")
    assert world.invalidations.is_unconfirmed("thing:v1:4")


async def test_what_waits_is_flushed_at_the_end() -> None:
    world = World()
    deletion = Deletion(THINGS, 1)
    await world.invalidations.delete(deletion)
    await world.invalidations.flush()
    assert world.redis.deletes == [("thing:v1:1",), ("thing:v1:1",)]


async def test_an_error_of_the_origin_reaches_everybody_who_waits_and_is_not_kept() -> None:
    world = World()

    async def fail() -> Thing:
        await asyncio.sleep(0)
        raise LookupError("origin")

    results = await asyncio.gather(
        *(world.cache.get(THINGS, 1, fail) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [LookupError] * 3
    assert await world.cache.get(THINGS, 1, loading(Thing(id=1, size=1))) is not None


async def test_a_waiter_that_leaves_does_not_end_the_flight() -> None:
    flights: Flights[str] = Flights()
    may_land = asyncio.Event()

    async def fly() -> str:
        await may_land.wait()
        return "landed"

    leaver = asyncio.create_task(flights.join("key", fly))
    stayer = asyncio.create_task(flights.join("key", fly))
    await asyncio.sleep(0)
    leaver.cancel()
    may_land.set()
    assert await stayer == "landed"
    assert leaver.cancelled()


def test_the_breaker_opens_tries_and_closes() -> None:
    now = 0.0
    breaker = CircuitBreaker(lambda: now, failures_to_open=3, retry_seconds=10)
    for _ in range(2):
        assert breaker.may_pass()
        breaker.failed()
    breaker.succeeded()
    for _ in range(3):
        assert breaker.may_pass()
        breaker.failed()
    assert breaker.is_open
    assert not breaker.may_pass()
    now = 10.0
    assert breaker.may_pass()
    assert not breaker.may_pass(), "one trial at a time"
    breaker.failed()
    assert not breaker.may_pass()
    now = 20.0
    assert breaker.may_pass()
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.may_pass()


async def test_every_operation_ends_within_its_deadline() -> None:
    world = World(timeout_seconds=0.05)
    world.redis.hangs = True
    thing = Thing(id=1, size=1)
    async with asyncio.timeout(5):
        assert await world.cache.get(THINGS, 1, loading(thing)) == thing
        await world.cache.invalidate([THINGS], 1)
    # The lookup, the versions in use, and the delete.
    assert world.count("cache_errors_total", family="thing", kind="timeout") == 3


async def test_an_open_breaker_sends_nothing_and_counts_no_operation() -> None:
    world = World()
    world.redis.is_away = True
    for entity_id in range(9):
        await world.cache.get(THINGS, entity_id, loading(None))
    assert world.count("cache_lookups_total", family="thing", result="error") == 9
    assert world.count("cache_operations_total", family="thing", operation="get") == 5
    assert world.count("cache_errors_total", family="thing", kind="connection") == 5
    assert not world.store.is_available
