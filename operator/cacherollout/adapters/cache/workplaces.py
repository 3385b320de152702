"""What every work of one rollout has at hand: the server, the families, the pods, the pace."""

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

import aiohttp

from cacherollout.adapters.cache.backends import Backend
from cacherollout.adapters.cache.families import engine_families, refuse_foreign_versions_key
from cacherollout.adapters.cache.pacing import engine_limits, paced
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.cache import Family, Limits, NamespaceSurvey, Server
from cacherollout.core.facts import PodFacts


class RunningMirror(Protocol):
    """What other works need to know of a mirror."""

    @property
    def versions(self) -> frozenset[str]:
        """The two versions."""
        ...

    async def coherent_server(self) -> Server:
        """A server whose writes the mirror takes for ours; waits until the two are coherent."""
        ...


class Workplace:
    """One rollout's share of a backend. Raises ProblemError where a family may not be touched."""

    def __init__(
        self,
        backend: Backend,
        spec: CacheRolloutSpec,
        http: aiohttp.ClientSession,
        clock: Callable[[], float],
    ) -> None:
        self.backend = backend
        self.spec = spec
        self.http = http
        self.clock = clock
        """Seconds since the epoch."""
        self.mirror: RunningMirror | None = None
        """The running mirror, if there is one."""
        self.pods: tuple[PodFacts, ...] = ()
        """Canary pods, as of the last pass."""
        self.pods_changed = asyncio.Event()
        """Set at every pass; whoever waits for a pod clears it first."""
        self.counted: tuple[NamespaceSurvey, ...] = ()
        """The namespaces as last counted."""
        self.families()  # raises, before anything is begun
        refuse_foreign_versions_key(spec, backend.spec.key_prefixes)

    @property
    def limits(self) -> Limits:
        """Limits of one operation; the turnstile keeps to the backend's."""
        return engine_limits(self.backend.spec.limits)

    def families(self, compatible: Collection[str] = ()) -> tuple[Family, ...]:
        """Every declared family; those named may be copied."""
        return engine_families(self.spec, self.backend.spec.key_prefixes, compatible)

    def server(self) -> Server:
        """The cache, at the pace that all works on it share."""
        return paced(self.backend.server, self.backend.turnstile)

    async def mirrored_server(self, *versions: str) -> Server:
        """The same, once a mirror between these versions, if there is one, is coherent.

        The mirror takes what is written there for ours, not for the application's changes.
        """
        mirror = self.mirror
        if mirror is None or not {*versions} <= mirror.versions:
            return self.server()
        return paced(await mirror.coherent_server(), self.backend.turnstile)

    def keys_of(self, family: str, version: str) -> int:
        """Keys of a namespace as last counted; 0 before the first count."""
        return sum(
            one.keys for one in self.counted if (one.family, one.version) == (family, version)
        )

    def set_pods(self, pods: tuple[PodFacts, ...]) -> None:
        """These are the canary pods now."""
        self.pods = pods
        self.pods_changed.set()
