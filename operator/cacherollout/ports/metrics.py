"""Measurements of the pods."""

from typing import Protocol

from cacherollout.api.names import Key
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.facts import Measurement, PodFacts


class Metrics(Protocol):
    """Counters of pods. Never raises for a sick endpoint: that is part of the measurement."""

    async def measure(
        self, key: Key, spec: CacheRolloutSpec, pods: tuple[PodFacts, ...]
    ) -> Measurement | None:
        """The newest measurement; None before the first. At most one scrape an interval."""
        ...

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a rollout."""
        ...
