"""What a server says about itself: identity, memory, eviction policy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cacherollout.cache.errors import HeadroomError, UnreachableError
from cacherollout.cache.servers import Channel, Server

EVICTING_CEILING_PERCENT: Final = 80.0
"""Above this fill an evicting server is close to taking keys of the version that serves."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A server's memory, summed over primaries where there are several.

    Attributes:
        used_bytes: What counts against the limit (buffers that do not are left out).
        limit_bytes: `maxmemory`; None if unlimited, and then headroom is unknown.
        policy: `maxmemory-policy`, e.g. ``noeviction`` or ``allkeys-lru``.

    """

    used_bytes: int
    limit_bytes: int | None
    policy: str

    @property
    def used_percent(self) -> float | None:
        """Fill in percent of the limit; None without a limit."""
        return None if self.limit_bytes is None else 100 * self.used_bytes / self.limit_bytes

    @property
    def may_evict(self) -> bool:
        """Whether the server removes cached keys by itself when full.

        `volatile-*` policies count: what they take are keys with a TTL, which is what a cache is.
        """
        return self.policy != "noeviction"

    def headroom_bytes(self, ceiling_percent: float) -> int | None:
        """Bytes left under the ceiling, negative if above it; None without a limit."""
        if self.limit_bytes is None:
            return None
        if self.may_evict:
            ceiling_percent = min(ceiling_percent, EVICTING_CEILING_PERCENT)
        return int(self.limit_bytes * ceiling_percent / 100) - self.used_bytes

    def require(self, wanted_bytes: int, ceiling_percent: float) -> None:
        """Raise `HeadroomError` unless `wanted_bytes` more stay under the ceiling."""
        headroom = self.headroom_bytes(ceiling_percent)
        if headroom is None or wanted_bytes <= headroom:
            return
        ceiling = min(ceiling_percent, EVICTING_CEILING_PERCENT if self.may_evict else 100)
        raise HeadroomError(
            f"needs {wanted_bytes:,} more bytes, {max(0, headroom):,} are left below "
            f"{ceiling:g} % of maxmemory ({self.limit_bytes:,} bytes, policy {self.policy})"
        )


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Who answers.

    Attributes:
        version: As the server states it, e.g. ``7.0.15``.
        run_id: Changes with every start of the server process.
        role: ``master`` or ``slave``, in the server's words.
        keys: Keys in the selected database.
        has_immortal_keys: Whether any key, in any database, never expires.
        memory: Its memory.

    """

    version: str
    run_id: str
    role: str
    keys: int
    has_immortal_keys: bool
    memory: Memory


async def read_facts(channel: Channel) -> ServerFacts:
    """Ask one server about itself: one INFO, about 0.1 ms of its time."""
    info, keys = await channel.pipeline([(b"INFO",), (b"DBSIZE",)])
    fields = dict(
        line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line
    )
    limit = int(fields.get("maxmemory", 0))
    uncounted = int(fields.get("mem_not_counted_for_evict", 0))
    return ServerFacts(
        version=fields.get("redis_version", "unknown"),
        run_id=fields.get("run_id", ""),
        role=fields.get("role", "unknown"),
        keys=keys,
        has_immortal_keys=any(_has_immortals(v) for k, v in fields.items() if k[:2] == "db"),
        memory=Memory(
            used_bytes=max(0, int(fields.get("used_memory", 0)) - uncounted),
            limit_bytes=limit or None,
            policy=fields.get("maxmemory_policy", "noeviction"),
        ),
    )


def _has_immortals(keyspace: str) -> bool:
    """Read ``keys=12,expires=12,avg_ttl=0``."""
    counts = dict(pair.split("=", 1) for pair in keyspace.split(",") if "=" in pair)
    return counts.get("keys") != counts.get("expires")


async def probe(server: Server, *, timeout_seconds: float = 2.0) -> ServerFacts:
    """Look at every primary once, without patience; errors as in `Connection.connect`.

    Keys and memory are those of all together; who it is, is said by the first.
    """
    found = []
    for primary in await server.primaries():
        async with primary.session(timeout_seconds) as channel:
            found.append(await read_facts(channel))
    if not found:
        raise UnreachableError("the cache has no primary")
    return replace(
        found[0],
        keys=sum(facts.keys for facts in found),
        has_immortal_keys=any(facts.has_immortal_keys for facts in found),
        memory=sum_memories([facts.memory for facts in found]),
    )


def sum_memories(memories: Sequence[Memory]) -> Memory:
    """Add up several primaries: unlimited if one is, and evicting if one is."""
    limits = [memory.limit_bytes for memory in memories]
    return Memory(
        used_bytes=sum(memory.used_bytes for memory in memories),
        limit_bytes=None if None in limits else sum(limit or 0 for limit in limits),
        policy=next((m.policy for m in memories if m.may_evict), memories[0].policy),
    )


def tightest(memories: Sequence[Memory], ceiling_percent: float) -> Memory:
    """The one with the least headroom; one without a limit has the most."""

    def headroom(memory: Memory) -> float:
        left = memory.headroom_bytes(ceiling_percent)
        return math.inf if left is None else left

    return min(memories, key=headroom)
