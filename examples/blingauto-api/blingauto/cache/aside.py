"""Cache-aside: look in the cache, else ask the origin and store its answer; delete after writes.

Invariants: a lookup has exactly one result; a value is returned only after its codec accepted it; no
failure of the cache reaches the caller; nothing read before a write is stored after its delete for
longer than the second delete takes.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from cachetools import TTLCache

from blingauto.cache.codec import CorruptValueError
from blingauto.cache.families import Family
from blingauto.cache.flights import Flights
from blingauto.cache.instruments import CacheInstruments, Result
from blingauto.cache.invalidations import Deletion, Invalidations
from blingauto.cache.store import RedisStore, StoreUnavailableError

_LOGGER = logging.getLogger(__name__)
_RECENT_LOOKUPS = 1_000
T = TypeVar("T")
Load = Callable[[], Coroutine[Any, Any, T]]


class CacheAside:
    """The one way in which handlers read through and write past the cache."""

    def __init__(
        self,
        store: RedisStore,
        invalidations: Invalidations,
        *,
        instruments: CacheInstruments,
        version: str,
        ttl_seconds: float,
        ttl_jitter_percent: float,
        l1_entries: int,
        l1_ttl_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """`version` is the one to read and fill; `invalidations` know the others."""
        self._store = store
        self._invalidations = invalidations
        self._instruments = instruments
        self._version = version
        self._ttl_seconds = ttl_seconds
        self._ttl_jitter = ttl_jitter_percent / 100
        self._l1: TTLCache[str, Any] = TTLCache(l1_entries, l1_ttl_seconds, timer=clock)
        self._flights: Flights[Any] = Flights()
        self._recent: deque[Result] = deque(maxlen=_RECENT_LOOKUPS)

    @property
    def corrupt_percent(self) -> float:
        """How many of the last 1,000 lookups found a corrupt value; 0 before the first."""
        return 100 * self._recent.count("corrupt") / len(self._recent) if self._recent else 0.0

    @property
    def waiting_invalidations(self) -> int:
        """Deletes that are still owed to Redis."""
        return self._invalidations.waiting

    async def get(self, family: Family[T], entity_id: int, load: Load[T | None]) -> T | None:
        """The cached value, else what `load` answers, which is then stored unless it is None.

        Raises only what `load` raises. Concurrent misses of one key share one `load`.
        """
        key = family.key(self._version, entity_id)
        if family.has_l1 and (kept := self._l1.get(key)) is not None:
            self._instruments.hit_l1(family.name)
            return kept  # type: ignore[no-any-return]
        looked_up = await self._look_up(family, key)
        value, result = looked_up
        self._recent.append(result)
        self._instruments.looked_up(family.name, result)
        if value is None:
            value = await self._flights.join(
                key, lambda: self._fill(family, key, load, may_store=result != "error")
            )
        if value is not None and family.has_l1:
            self._l1[key] = value
        return value

    async def invalidate(self, families: Iterable[Family[Any]], entity_id: int) -> None:
        """Remove the entity from every version in use. Call it after the commit, never before."""
        for family in families:
            key = family.key(self._version, entity_id)
            self._flights.forget(key)
            self._l1.pop(key, None)
            await self._invalidations.delete(Deletion(family, entity_id))

    async def _look_up(self, family: Family[T], key: str) -> tuple[T | None, Result]:
        if self._invalidations.is_unconfirmed(key):
            return None, "error"
        try:
            data = await self._store.get(family.name, key)
            if data is None:
                return None, "miss"
            return family.codec.decode(data), "hit"
        except StoreUnavailableError:
            return None, "error"
        except CorruptValueError as error:
            await self._remove_corrupt(family, key, error)
            return None, "corrupt"

    async def _remove_corrupt(self, family: Family[T], key: str, error: CorruptValueError) -> None:
        self._instruments.failed(family.name, error.kind)
        _LOGGER.warning("corrupt value removed key=%s kind=%s reason=%s", key, error.kind, error)
        try:
            await self._store.delete(family.name, (key,))
        except StoreUnavailableError as unavailable:
            # The fill that follows overwrites it; failing that, the next read finds it again.
            _LOGGER.warning("corrupt value stays for now key=%s reason=%s", key, unavailable)

    async def _fill(
        self, family: Family[T], key: str, load: Load[T | None], *, may_store: bool
    ) -> T | None:
        value = await load()
        if value is None or not may_store or not self._flights.is_current(key):
            return value
        try:
            data = family.codec.encode(value)
            await self._store.set(family.name, key, data, self._spread_ttl_seconds())
        except StoreUnavailableError as error:
            _LOGGER.debug("value not stored key=%s reason=%s", key, error)
        return value

    def _spread_ttl_seconds(self) -> float:
        spread = random.uniform(-self._ttl_jitter, self._ttl_jitter)  # noqa: S311 - no secret
        return self._ttl_seconds * (1 + spread)
