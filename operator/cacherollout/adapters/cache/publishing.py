"""The key that names the versions in use: published, and put back where it was lost."""

import asyncio
import re
from typing import Final

from cacherollout.adapters.cache.problems import problem
from cacherollout.adapters.cache.workplaces import Workplace
from cacherollout.api.reasons import Reason
from cacherollout.cache import (
    Primary,
    RefusedError,
    Server,
    ServerError,
    missing_rights_to_name,
)
from cacherollout.core.actions import PublishWork
from cacherollout.core.facts import WorkFacts

LOOK_SECONDS: Final = 1.0
"""Time between two looks: what an eviction, a restart or a person takes away is back soon after."""
_TIMEOUT_SECONDS: Final = 2.0
_VERSIONS: Final = re.compile(rb"[a-z0-9._-]+(,[a-z0-9._-]+)*")


async def trouble_with(server: Server, key: str) -> str:
    """Why the versions could not be published there, and the fix; empty where they could.

    Writes nothing. Raises the errors of a server that cannot be asked.
    """
    missing = await missing_rights_to_name(server, key)
    if missing:
        return _denied(key, " and ".join(missing))
    primaries = await server.primaries()
    async with primaries[0].session(_TIMEOUT_SECONDS) as channel:
        (found,) = await channel.pipeline([(b"GET", key.encode())])
    return _foreign(key) if _is_foreign(found) else ""


class PublishRunner:
    """Runs a PublishWork: one GET a second, and one SET where the versions are not there."""

    def __init__(self, place: Workplace, work: PublishWork) -> None:
        self._place = place
        self._work = work
        self._since: float | None = None
        self._looks = 0

    @property
    def mark(self) -> object:
        """Looks that found it right, or made it so."""
        return self._looks

    def adjust(self, work: PublishWork) -> None:
        """Same identity, nothing else to take over."""
        self._work = work

    async def run(self) -> None:
        """Keep it published until cancelled."""
        try:
            # On the server itself: a look a second needs no pace, and waits for nobody's.
            primaries = await self._place.backend.server.primaries()
            await self._keep(primaries[0])  # through any of them every key is reached
        except RefusedError as error:
            text = _denied(self._work.at, "GET or SET")
            raise problem(Reason.CACHE_ACCESS_DENIED, text) from error
        finally:
            self._since = None

    def facts(self) -> WorkFacts:
        """Since when the versions are there."""
        return WorkFacts(self._work.key, since=self._since)

    async def _keep(self, primary: Primary) -> None:
        key, value = self._work.at.encode(), ",".join(self._work.versions).encode()
        async with primary.session(self._place.limits.timeout_seconds) as channel:
            while True:
                (found,) = await channel.pipeline([(b"GET", key)])
                if found != value:
                    self._since = None
                    if _is_foreign(found):
                        raise problem(Reason.INVALID_SPEC, _foreign(self._work.at))
                    (reply,) = await channel.pipeline([(b"SET", key, value)])
                    if isinstance(reply, ServerError):
                        raise reply
                if self._since is None:
                    self._since = self._place.clock()
                self._looks += 1
                await asyncio.sleep(LOOK_SECONDS)


def _denied(key: str, commands: str) -> str:
    return (
        f"the user of the cache lacks {commands} on cache.versionsKey {key!r}; grant it both, or "
        "remove cache.versionsKey"
    )


def _is_foreign(found: object) -> bool:
    """Whether the key holds what nobody publishes: then it is the application's."""
    return found is not None and not (isinstance(found, bytes) and _VERSIONS.fullmatch(found))


def _foreign(key: str) -> str:
    return (
        f"cache.versionsKey {key!r} holds something else than versions, which is not written over; "
        "choose another key, or remove that value"
    )
