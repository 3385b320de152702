"""Deletes that must not be lost: a second one after each write, and retries while Redis is away.

Why a second delete: a reader that read the database before a commit may store what it read after the
writer's delete; deleting again `second_delete_seconds` later bounds that staleness. Every delete goes
by the versions in use when it is sent, so one that waited reaches what was not there yet. Why retries: a
write that commits while Redis is away leaves an old value behind, which must not be served when Redis
returns. What waits is kept in memory: a process that ends in between leaves the bound to the TTL.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blingauto.cache.families import Family
from blingauto.cache.instruments import CacheInstruments
from blingauto.cache.store import RedisStore, StoreUnavailableError
from blingauto.cache.versions import VersionsInUse

_LOGGER = logging.getLogger(__name__)
_MOST_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Deletion:
    """An entity of one family that a write made obsolete, under every version."""

    family: Family[Any]
    entity_id: int


class Invalidations:
    """Deletes now, again later, and until it worked. `run()` must be running for the latter two."""

    def __init__(
        self,
        store: RedisStore,
        versions: VersionsInUse,
        *,
        instruments: CacheInstruments,
        second_delete_seconds: float,
        retry_seconds: float = 0.5,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._versions = versions
        self._instruments = instruments
        self._second_delete_seconds = second_delete_seconds
        self._retry_seconds = retry_seconds
        self._clock = clock
        # In the order in which they fall due, for the delay is constant.
        self._second: dict[Deletion, float] = {}
        self._failed: dict[Deletion, None] = {}
        self._retry_at = 0.0
        self._unconfirmed: set[str] = set()
        self._something_waits = asyncio.Event()

    def is_unconfirmed(self, key: str) -> bool:
        """True while `key`, one of our own version, may hold a value older than a write of this process."""
        return key in self._unconfirmed

    @property
    def waiting(self) -> int:
        """How many deletes are still owed to Redis because it failed."""
        return len(self._failed)

    async def delete(self, deletion: Deletion) -> None:
        """Delete at once and again later; never raises for an absent Redis."""
        if await self._try(deletion) and self._second_delete_seconds > 0:
            self._second.pop(deletion, None)
            self._second[deletion] = self._clock() + self._second_delete_seconds
            self._something_waits.set()

    async def run(self) -> None:
        """Work off what waits, for ever."""
        while True:
            due_at = self._next_due_at()
            if due_at is None:
                self._something_waits.clear()
                await self._something_waits.wait()
                continue
            await asyncio.sleep(max(0.0, due_at - self._clock()))
            await self._work_off(self._clock())

    async def flush(self) -> None:
        """Try everything that waits once more, now; for a process that is about to end."""
        await self._work_off(float("inf"))

    def _next_due_at(self) -> float | None:
        due = [self._retry_at] if self._failed else []
        return min((*due, *itertools.islice(self._second.values(), 1)), default=None)

    async def _work_off(self, until: float) -> None:
        if self._retry_at <= until:
            for deletion in tuple(self._failed):
                if not await self._try(deletion):
                    break  # still away: the others would fail too
        for deletion in [d for d, at in self._second.items() if at <= until]:
            self._second.pop(deletion, None)
            await self._try(deletion)

    async def _try(self, deletion: Deletion) -> bool:
        family = deletion.family
        versions = await self._versions.current(family.name)
        keys = tuple(family.key(version, deletion.entity_id) for version in versions)
        try:
            await self._store.delete(family.name, keys)
        except StoreUnavailableError:
            self._remember(deletion)
            return False
        if deletion in self._failed:
            del self._failed[deletion]
            self._unconfirmed.discard(self._own_key(deletion))
        return True

    def _own_key(self, deletion: Deletion) -> str:
        return deletion.family.key(self._versions.own, deletion.entity_id)

    def _remember(self, deletion: Deletion) -> None:
        self._retry_at = self._clock() + self._retry_seconds
        self._failed[deletion] = None
        self._unconfirmed.add(self._own_key(deletion))
        self._something_waits.set()
        if len(self._failed) > _MOST_WAITING:
            oldest = next(iter(self._failed))
            del self._failed[oldest]
            self._unconfirmed.discard(self._own_key(oldest))
            self._instruments.invalidations_dropped.inc()
            _LOGGER.error("gave up a delete: over %d wait for redis; TTL bounds it", _MOST_WAITING)
