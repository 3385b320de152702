"""What people are told as it happens."""

from typing import Protocol

from cacherollout.core.decisions import Say
from cacherollout.ports.workloads import RolloutObject


class Recorder(Protocol):
    """Posts events; never fails the pass that had something to say."""

    async def say(self, rollout: RolloutObject, said: Say) -> None:
        """Post one event about the rollout."""
        ...
