"""The cache as one rollout sees it: look at it, and keep a set of works running on it."""

from typing import Protocol

from cacherollout.api.names import Key
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import Work
from cacherollout.core.facts import CacheFacts, PodFacts


class Caches(Protocol):
    """Caches by rollout. Never raises for a sick cache: a sick cache is a fact."""

    async def observe(self, key: Key, spec: CacheRolloutSpec) -> CacheFacts:
        """Health, memory and the works' progress; answers within two seconds."""
        ...

    async def run(
        self,
        key: Key,
        spec: CacheRolloutSpec,
        works: tuple[Work, ...],
        pods: tuple[PodFacts, ...],
    ) -> None:
        """Make these the works that run: start what is missing, end every other.

        `pods` are the canary pods that replayed requests may go to.
        """
        ...

    async def forget(self, key: Key) -> None:
        """End every work of a rollout and close its connections."""
        ...
