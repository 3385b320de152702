"""Writers, copier, mirror and expiry in every order: no version may keep a value that is outdated.

A model of an application: a database with one number an id, and two versions that cache it. Steps
interleave reads (a miss fills), writes through either version (invalidating as the documentation
asks), expiry, the copier, and a network between mirror and server that holds back what either side
says. When everything is through, each cached value must be the database's.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacherollout.cache import (
    Connection,
    Copy,
    Family,
    KeyTemplate,
    Limits,
    Mirror,
    Standalone,
    Writes,
    key_of,
)
from tests.contract.cache.conftest import Caller, RedisProcess, dump, plant_foreign_keys
from tests.contract.cache.proxies import Proxy
from tests.contract.cache.test_mirrors import BOTH, mirroring, settle

IDS = ("1", "*")
MARKERS = Family("marker", KeyTemplate.parse("marker:{version}:{id}", ("marker:",)))
"""A family whose removals are mirrored whatever the other is: `settle` follows one through."""
VERSIONS = st.sampled_from(BOTH)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), VERSIONS, st.sampled_from(IDS)),
        st.tuples(st.just("read"), VERSIONS, st.sampled_from(IDS)),
        st.tuples(st.just("invalidate"), VERSIONS, st.sampled_from(IDS)),
        st.tuples(st.just("invalidate"), VERSIONS, st.sampled_from(IDS)),
        st.tuples(st.just("overwrite"), VERSIONS, st.sampled_from(IDS)),
        st.tuples(st.just("expire"), VERSIONS, st.sampled_from(IDS)),
        st.tuples(st.just("copy"), VERSIONS, st.just("")),
        st.tuples(st.just("hold"), st.sampled_from(["replies", "requests"]), st.just("")),
        st.tuples(st.just("release"), st.sampled_from(["replies", "requests"]), st.just("")),
        st.tuples(st.just("breathe"), st.just(""), st.just("")),
    ),
    min_size=4,
    max_size=30,
)


@dataclass
class Application:
    """The application, its database and the network, all driven step by step."""

    client: Caller
    mirror: Mirror
    proxies: Sequence[Proxy]
    family: Family
    database: dict[str, int] = field(default_factory=lambda: dict.fromkeys(IDS, 0))
    copies: "list[asyncio.Task[object]]" = field(default_factory=list)

    def key(self, version: str, identifier: str) -> bytes:
        return key_of(self.family, version, identifier.encode())

    async def take(self, step: str, where: str, identifier: str) -> None:
        match step:
            case "hold":
                for proxy in self.proxies:
                    getattr(proxy, where).clear()
            case "release":
                for proxy in self.proxies:
                    getattr(proxy, where).set()
            case "breathe":
                await asyncio.sleep(0.001)
            case "copy":
                other = BOTH[1] if where == BOTH[0] else BOTH[0]
                if self.family.is_compatible:
                    copy = Copy(
                        self.mirror.server,
                        [self.family],
                        source=where,
                        target=other,
                        is_target_serving=True,
                        limits=Limits.unthrottled(page_keys=10),
                    )
                    self.copies.append(asyncio.create_task(copy.run()))
                    await asyncio.sleep(0)
            case _:
                await getattr(self, step)(self.key(where, identifier), identifier)

    async def read(self, key: bytes, identifier: str) -> None:
        if not self.family.is_compatible and self.family.writes is Writes.INVALIDATE:
            # The documented limit: a refill within the lag of an invalidation hides it.
            await self.settle()
        if await self.client.call("GET", key) is None:
            await self.client.call("SET", key, self.database[identifier], "PX", 100_000)

    async def invalidate(self, key: bytes, identifier: str) -> None:
        self.database[identifier] += 1
        if self.family.writes is Writes.INVALIDATE_ALL:
            await self.client.call("DEL", *(self.key(version, identifier) for version in BOTH))
            return
        if not await self.client.call("DEL", key):
            # The documented limit: deleting what is not cached pushes nothing; delete both.
            await self.client.call("DEL", *(self.key(version, identifier) for version in BOTH))

    async def overwrite(self, key: bytes, identifier: str) -> None:
        if self.family.writes is Writes.INVALIDATE_ALL:
            return
        if not self.family.is_compatible and self.family.writes is Writes.INVALIDATE:
            return
        self.database[identifier] += 1
        await self.client.call("SET", key, self.database[identifier], "PX", 100_000)

    async def expire(self, key: bytes, identifier: str) -> None:
        await self.client.call("PEXPIRE", key, 0)

    async def settle(self) -> None:
        for proxy in self.proxies:
            proxy.requests.set()
            proxy.replies.set()
        await asyncio.gather(*self.copies)
        self.copies.clear()
        await settle(self.mirror, self.client)

    async def check(self) -> None:
        """No version may hold anything but what the database has."""
        assert self.mirror.state.gaps == 0, "the network only delayed"
        for identifier, value in self.database.items():
            for version in BOTH:
                cached = await self.client.call("GET", self.key(version, identifier))
                assert cached in (None, b"%d" % value), (version, identifier, value)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "kind", ["compatible", "write-through", "fill", "all and compatible", "all and fill"]
)
@given(steps=STEPS)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_no_version_keeps_an_outdated_value(
    client: Connection,
    shared_redis: RedisProcess,
    users: Family,
    kind: str,
    steps: list[tuple[str, str, str]],
) -> None:
    family = {
        "compatible": users,
        "write-through": replace(users, is_compatible=False, writes=Writes.WRITE_THROUGH),
        "fill": replace(users, is_compatible=False, writes=Writes.INVALIDATE),
        "all and compatible": replace(users, writes=Writes.INVALIDATE_ALL),
        "all and fill": replace(users, is_compatible=False, writes=Writes.INVALIDATE_ALL),
    }[kind]
    await client.call("FLUSHALL")
    foreign = await plant_foreign_keys(client)
    async with (
        Proxy(shared_redis.port) as proxy,
        mirroring(Standalone(proxy.endpoint), [MARKERS, family]) as mirror,
    ):
        application = Application(client, mirror, [proxy], family)
        for step in steps:
            await application.take(*step)
        await application.settle()
        await application.check()
        state = await dump(client)
        assert foreign.items() <= state.items()
        assert len(state) <= len(foreign) + len(IDS) * len(BOTH)
