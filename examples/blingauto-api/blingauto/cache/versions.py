"""The cache versions in use, so that a write can delete under all of them in one command.

While two releases serve side by side, each has values that the other's writes make obsolete, and only
a delete of both keys reaches both. Which versions there are stands under one key of Redis, `v1,v2`,
kept by whoever moves the cache from one to the next; it names a version some seconds before anything
is stored under it. What was read is kept for a second, well below the two that this allows.
"""

import logging
import re
from collections.abc import Callable

from blingauto.cache.codec import CorruptValueError
from blingauto.cache.instruments import CacheInstruments
from blingauto.cache.store import RedisStore, StoreUnavailableError

_LOGGER = logging.getLogger(__name__)
_KEPT_SECONDS = 1.0
_MOST_VERSIONS = 64
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,63}")


def is_version(text: str) -> bool:
    """Whether `text` can stand between the delimiters of a key."""
    return _VERSION.fullmatch(text) is not None


class VersionsInUse:
    """Which versions a delete has to reach: always our own, and those that `key` names.

    Where `key` cannot be read or makes no sense, what was known before holds. A missing key says
    nothing either: it was never published, or it was lost, and then it comes back.
    """

    def __init__(
        self,
        store: RedisStore,
        *,
        own: str,
        key: str | None,
        instruments: CacheInstruments,
        clock: Callable[[], float],
    ) -> None:
        self.own = own
        """The version that this process reads and fills."""
        self._store = store
        self._key = key
        self._instruments = instruments
        self._clock = clock
        self._known: tuple[str, ...] = (own,)
        self._fresh_until = float("-inf")

    async def current(self, family: str) -> tuple[str, ...]:
        """Our own version, then the others; never raises. Counted as a read of `family`."""
        asked_at = self._clock()
        if self._key is None or asked_at < self._fresh_until:
            return self._known
        try:
            data = await self._store.get(family, self._key)
            if data is not None:
                self._known = tuple(dict.fromkeys((self.own, *_parse(data))))
            self._fresh_until = asked_at + _KEPT_SECONDS
        except (StoreUnavailableError, CorruptValueError) as error:
            self._instruments.versions_unread.inc()
            _LOGGER.debug("deleting under %s: %s: %s", ",".join(self._known), self._key, error)
        return self._known


def _parse(data: bytes) -> list[str]:
    """The versions; raises `CorruptValueError` where it is anything else."""
    versions = data.decode(errors="replace").split(",")
    if len(versions) > _MOST_VERSIONS or not all(map(is_version, versions)):
        raise CorruptValueError("validation", "not versions separated by commas")
    return versions
