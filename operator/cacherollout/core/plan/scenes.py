"""Everything that a plan starts from: settings, pods, keys and what is asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cacherollout.api.backend import Limits
from cacherollout.api.ledger import Release
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.plan.clusters import Cluster, Shape
from cacherollout.core.plan.stores import Population
from cacherollout.core.versions import wanted_release
from cacherollout.core.warmup import FamilyPlan, plan_families

COPIES_PER_BUSY_SECOND: Final = 240_000.0
"""Keys that a server copies in a second of its own time: SCAN and COPY cost it 4 µs a key
(measured with Redis 7.0, 300-byte values, one core)."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One application before its release."""

    spec: CacheRolloutSpec
    populations: tuple[Population, ...]
    """One for each family of the spec, in its order."""
    shape: Shape
    fingerprints: Mapping[str, str]
    """Of each family's schema in the stable release; a family that differs is not copied."""
    stable_version: str = "v1"
    limits: Limits = field(default_factory=Limits)
    """How hard the operator may work on the cache."""
    used_bytes: int | None = None
    """Memory that the cache uses now; None where it is not known."""
    limit_bytes: int | None = None
    """Memory that it may use; None where it has no limit."""

    @property
    def families(self) -> FamilyPlan:
        """How each family gets its values; none does where both releases use the same keys."""
        stable = Release("", self.stable_version, fingerprints=dict(self.fingerprints))
        wanted = wanted_release(self.spec, stable, Cluster(self.shape).target_facts())
        version = wanted.version if wanted else self.stable_version
        coming = Release("", version or "", fingerprints=self.spec.fingerprints())
        return plan_families(self.spec, coming, self.stable_version, self.fingerprints)

    @property
    def copies_per_second(self) -> float:
        """Keys that the operator copies in a second within the limits."""
        busy = self.limits.duty_cycle_percent / 100
        return min(float(self.limits.keys_per_second), busy * COPIES_PER_BUSY_SECOND)

    @property
    def ceiling_bytes(self) -> float | None:
        """Memory at which filling stops; None where the cache has no limit."""
        if self.limit_bytes is None:
            return None
        return self.limit_bytes * self.limits.memory_ceiling_percent / 100

    @property
    def lookups(self) -> float:
        """Lookups per second of all families."""
        return sum(each.lookups for each in self.populations)
