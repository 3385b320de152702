"""The port `Workloads` on a real API server: it says which module does what."""

from collections.abc import Callable
from typing import Any, assert_never

from cacherollout.adapters.kube import canaries, observation, rollouts, snapshots, targets
from cacherollout.adapters.kube.client import Client
from cacherollout.api.names import Key
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import (
    Action,
    AddFinalizer,
    ApplyCanary,
    ApplyTarget,
    ConsumeRequest,
    DeleteCanary,
    DropSnapshots,
    FreeTarget,
    KeepSnapshot,
    RemoveFinalizer,
    RestoreTarget,
    RunWorks,
    SetAdmission,
)
from cacherollout.core.facts import Observed
from cacherollout.ports.errors import InvariantError
from cacherollout.ports.workloads import RolloutObject


class KubeWorkloads:
    """Reads and changes the Kubernetes side of rollouts; keeps nothing between two calls.

    `clock` gives seconds since the epoch.
    """

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock

    async def read(self, key: Key) -> RolloutObject | None:
        """The CacheRollout, read live; None when it is gone."""
        return await rollouts.read(self._client, key)

    async def observe(self, rollout: RolloutObject, spec: CacheRolloutSpec) -> Observed:
        """Target, canary, pods and snapshots, read live; cache and metrics are left empty."""
        return await observation.observe(self._client, rollout, spec)

    async def apply(self, rollout: RolloutObject, spec: CacheRolloutSpec, action: Action) -> None:
        """Carry out one action."""
        client = self._client
        match action:
            case ApplyTarget() | RestoreTarget() | FreeTarget():
                await targets.carry_out(client, rollout, spec, action)
            case ApplyCanary() | DeleteCanary() | SetAdmission():
                await canaries.carry_out(client, rollout, spec, action, self._clock())
            case KeepSnapshot() | DropSnapshots():
                await snapshots.carry_out(client, rollout, spec, action)
            case AddFinalizer() | RemoveFinalizer() | ConsumeRequest():
                await rollouts.carry_out(client, rollout, action)
            case RunWorks():
                raise InvariantError("cache works are not for the Kubernetes side")
            case _:
                assert_never(action)

    async def write_status(self, rollout: RolloutObject, status: dict[str, Any]) -> RolloutObject:
        """Write the whole status, provided nobody wrote since; gives the object as it is now."""
        return await rollouts.write_status(self._client, rollout, status)
