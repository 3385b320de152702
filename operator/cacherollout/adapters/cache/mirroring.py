"""The mirror between two versions, kept alive, and whether the two are coherent."""

import asyncio
import math
from typing import Final

from cacherollout.adapters.cache.workplaces import Workplace
from cacherollout.cache import Limits as EngineLimits
from cacherollout.cache import Mirror, Server
from cacherollout.core.actions import MirrorWork
from cacherollout.core.facts import CoherenceFacts, WorkFacts

_LOOK_AGAIN_SECONDS: Final = 2.0
"""How long one mirror is waited for before asking whether another has taken its place."""


class MirrorRunner:
    """Runs a MirrorWork. A new engine mirror a try: credentials may have changed in between."""

    def __init__(self, place: Workplace, work: MirrorWork) -> None:
        self._place = place
        self._work = work
        self._began_at = place.clock()
        self._serves_both = False
        self._mirror = self._build(None)

    @property
    def versions(self) -> frozenset[str]:
        """The two versions."""
        return frozenset((self._work.one, self._work.other))

    @property
    def mark(self) -> object:
        """Changes when the mirror becomes coherent."""
        return self._mirror.state.is_coherent

    def adjust(self, work: MirrorWork) -> None:
        """Same identity, nothing else to take over."""
        self._work = work

    def serve(self, *, is_target_used: bool) -> None:
        """Say whether traffic may reach the new version too: decides how gaps are repaired.

        A target that does not serve may be overwritten at will; once it might, its invalidations
        count as much as the stable version's.
        """
        self._serves_both = is_target_used
        self._mirror.serving = self._serving()

    async def run(self) -> None:
        """Mirror until cancelled."""
        gap_seconds = self._mirror.state.incoherent_seconds
        is_known = gap_seconds is not None and gap_seconds < math.inf
        self._mirror = self._build(gap_seconds if is_known else None)
        await self._mirror.run()

    async def coherent_server(self) -> Server:
        """A server whose writes the mirror takes for ours; waits until the versions are coherent."""
        while True:
            try:
                async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                    await self._mirror.coherent()
                    return self._mirror.server
            except TimeoutError:
                continue

    def facts(self) -> WorkFacts:
        """A mirror has no end to be near to."""
        return WorkFacts(self._work.key)

    def coherence(self) -> CoherenceFacts:
        """Whether the versions are coherent now, and since when they are not."""
        state = self._mirror.state
        since = None
        if not state.is_coherent:
            seconds = state.incoherent_seconds
            is_known = seconds is not None and seconds < math.inf
            since = self._place.clock() - seconds if is_known and seconds else self._began_at
        return CoherenceFacts(
            is_coherent=state.is_coherent,
            lag_seconds=state.lag_p99_seconds if state.is_coherent else None,
            incoherent_since=since,
        )

    def _serving(self) -> frozenset[str]:
        return self.versions if self._serves_both else frozenset((self._work.one,))

    def _build(self, gap_seconds: float | None) -> Mirror:
        backend = self._place.backend
        limits = backend.spec.limits
        return Mirror(
            backend.server,
            self._place.families(self._work.copied),
            stable=self._work.one,
            target=self._work.other,
            serving=self._serving(),
            limits=EngineLimits(
                keys_per_second=limits.keys_per_second,
                duty_cycle_percent=limits.duty_cycle_percent,
                memory_ceiling_percent=limits.memory_ceiling_percent,
            ),
            gap_seconds=gap_seconds,
        )
