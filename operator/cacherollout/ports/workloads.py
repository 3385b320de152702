"""The cluster as one rollout sees it: read it, and carry out actions on it."""

from dataclasses import dataclass
from typing import Any, Protocol

from cacherollout.api.names import Key
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import Action
from cacherollout.core.facts import Observed


@dataclass(frozen=True, slots=True)
class RolloutObject:
    """A CacheRollout as stored: raw, since its spec may be invalid."""

    key: Key
    uid: str
    generation: int
    resource_version: str
    is_deleting: bool
    has_finalizer: bool
    spec: dict[str, Any]
    status: dict[str, Any]
    annotations: dict[str, str]


class Workloads(Protocol):
    """Read and change the Kubernetes side of a rollout. Raises the errors of ports.errors."""

    async def read(self, key: Key) -> RolloutObject | None:
        """The CacheRollout, read live; None when it is gone."""
        ...

    async def observe(self, rollout: RolloutObject, spec: CacheRolloutSpec) -> Observed:
        """Target, canary, pods and snapshots, read live; cache and metrics are left empty."""
        ...

    async def apply(self, rollout: RolloutObject, spec: CacheRolloutSpec, action: Action) -> None:
        """Carry out one action; RunWorks is not for this port."""
        ...

    async def write_status(self, rollout: RolloutObject, status: dict[str, Any]) -> RolloutObject:
        """Write the whole status, provided nobody wrote since; gives the object as it is now."""
        ...
