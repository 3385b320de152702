"""The port `Recorder` on a real API server: Events that count instead of repeating themselves."""

import hashlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.resources import EVENTS, Manifest
from cacherollout.adapters.kube.times import rfc3339
from cacherollout.api import names
from cacherollout.core.decisions import Say
from cacherollout.ports.errors import CacheRolloutError
from cacherollout.ports.workloads import RolloutObject

log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 600.0
"""The same said again within this time counts up the Event that is there."""
MAX_REMEMBERED: Final = 4096
MAX_MESSAGE: Final = 1024
CONTROLLER: Final = f"{names.GROUP}/operator"

_Sentence = tuple[str, str, str]
"""UID of the rollout, reason, message."""


@dataclass(slots=True)
class _Posted:
    name: str
    count: int
    at: float


class KubeRecorder:
    """Posts Events about rollouts; one that cannot be posted is logged and never raised.

    `clock` gives seconds since the epoch.
    """

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._host = socket.gethostname()
        self._posted: dict[_Sentence, _Posted] = {}

    async def say(self, rollout: RolloutObject, said: Say) -> None:
        """Post one Event about the rollout, or count up the same of a moment ago."""
        now = self._clock()
        self._forget(now)
        sentence = (rollout.uid, said.reason.value, said.message)
        try:
            if not await self._count_up(rollout, sentence, now):
                await self._post(rollout, said, sentence, now)
        except CacheRolloutError as error:
            log.warning("The event %s of %s was not posted: %s", said.reason, rollout.key, error)

    async def _count_up(self, rollout: RolloutObject, sentence: _Sentence, now: float) -> bool:
        """False where there is nothing to count up: never said, or expired on the server."""
        posted = self._posted.get(sentence)
        if posted is None:
            return False
        namespace = rollout.key.namespace
        patch = {"count": posted.count + 1, "lastTimestamp": rfc3339(now)}
        try:
            await self._client.merge_patch(EVENTS, namespace, posted.name, patch)
        except CacheRolloutError as error:
            log.debug("The event %s cannot be counted up: %s", posted.name, error)
            del self._posted[sentence]
            return False
        posted.count += 1
        posted.at = now
        return True

    async def _post(
        self, rollout: RolloutObject, said: Say, sentence: _Sentence, now: float
    ) -> None:
        name = _event_name(rollout, sentence, now)
        manifest = event_manifest(rollout, said, name, rfc3339(now), self._host)
        await self._client.create(EVENTS, rollout.key.namespace, manifest)
        self._posted[sentence] = _Posted(name, 1, now)

    def _forget(self, now: float) -> None:
        """Drop what is too old to be counted up, and the oldest where there is too much."""
        kept = [(key, each) for key, each in self._posted.items() if now - each.at < REPEAT_SECONDS]
        self._posted = dict(kept[-MAX_REMEMBERED:])


def event_manifest(rollout: RolloutObject, said: Say, name: str, at: str, host: str) -> Manifest:
    """The Event as posted. Pure."""
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": name, "namespace": rollout.key.namespace},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.ROLLOUT_KIND,
            "namespace": rollout.key.namespace,
            "name": rollout.key.name,
            "uid": rollout.uid,
            "resourceVersion": rollout.resource_version,
        },
        "type": "Warning" if said.is_warning else "Normal",
        "reason": said.reason.value,
        "message": said.message[:MAX_MESSAGE],
        "source": {"component": CONTROLLER},
        "reportingComponent": CONTROLLER,
        "reportingInstance": host[:128],
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def _event_name(rollout: RolloutObject, sentence: _Sentence, now: float) -> str:
    digest = hashlib.sha256("\0".join((*sentence, repr(now))).encode()).hexdigest()[:16]
    return f"{rollout.key.name[:200].rstrip('.-')}.{digest}"
