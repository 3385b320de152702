"""kopf, and nothing else of it anywhere: watches that put keys into our queue.

Only `on.event` handlers, which make kopf write nothing to any object: no finalizer, no annotation,
no status. Everything that kopf would remember of an object the reconciler looks up live. What must
never go back to kopf's defaults is the finalizer's name: with it, kopf takes its finalizer from
objects of other operators.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

import kopf

from cacherollout.adapters.kube.login import Login
from cacherollout.api import names
from cacherollout.api.names import Key
from cacherollout.shell.clock import Clock, at_utc
from cacherollout.shell.wakeups import Wakeups

log = logging.getLogger(__name__)

LOGIN_SECONDS: Final = 600.0
"""Credentials are read again so often: a token that was rotated is a new one for kopf."""
RETRY_CAP_SECONDS: Final = 10.0
_FIRST_RETRIES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


class EndlessRetries:
    """Delays between retries that never run out: an outage of the API server ends nothing."""

    def __iter__(self) -> Iterator[float]:
        """Delays in seconds; every request starts at the first."""
        yield from _FIRST_RETRIES
        while True:
            yield RETRY_CAP_SECONDS


def settings() -> kopf.OperatorSettings:
    """Kopf with everything switched off that writes, scans or elects."""
    chosen = kopf.OperatorSettings()
    chosen.persistence.finalizer = f"{names.GROUP}/unused"
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    chosen.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP)
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.watching.server_timeout = 300
    chosen.watching.client_timeout = 330
    chosen.watching.connect_timeout = 10
    chosen.watching.chunk_size = 500
    chosen.watching.label_selectors["v1", "pods"] = names.LABEL_ROLLOUT
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 10
    chosen.networking.error_backoffs = EndlessRetries()
    # Objects change seldom; a worker per object need not linger, and none holds anything.
    chosen.queueing.idle_timeout = 1.0
    return chosen


def registry(
    wakeups: Wakeups,
    wake: Callable[[Iterable[Key]], None],
    login: Callable[[], Awaitable[Login]],
    clock: Clock,
) -> kopf.OperatorRegistry:
    """The handlers: each maps an object to keys and hands them to `wake`."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(id="login", registry=handlers)
    async def _login(**_: Any) -> kopf.ConnectionInfo:
        found = await login()
        return kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_path,
            insecure=not found.is_verified,
            certificate_path=found.certificate_path,
            private_key_path=found.private_key_path,
            token=found.token,
            expiration=at_utc(clock()) + timedelta(seconds=LOGIN_SECONDS),
        )

    @kopf.on.event(
        names.GROUP, names.VERSION, names.ROLLOUT_PLURAL, id="rollout", registry=handlers
    )
    async def _rollout(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's
        wake(wakeups.of_rollout(type, body))

    @kopf.on.event(
        names.GROUP, names.VERSION, names.BACKEND_PLURAL, id="backend", registry=handlers
    )
    async def _backend(body: kopf.Body, **_: Any) -> None:
        wake(wakeups.of_backend(body))

    @kopf.on.event("apps", "v1", "deployments", id="deployment", registry=handlers)
    async def _deployment(body: kopf.Body, **_: Any) -> None:
        wake(wakeups.of_deployment(body))

    @kopf.on.event(
        "v1", "pods", labels={names.LABEL_ROLLOUT: kopf.PRESENT}, id="pod", registry=handlers
    )
    async def _pod(body: kopf.Body, **_: Any) -> None:
        wake(wakeups.of_pod(body))

    return handlers


async def watch(
    handlers: kopf.OperatorRegistry,
    namespaces: tuple[str, ...],
    stop: asyncio.Event,
    *,
    take_signals: Callable[[], None],
) -> None:
    """Watch until `stop` is set; whatever else ends kopf is raised, and ends the process.

    Kopf takes the signals for itself when it starts; `take_signals` takes them back, since only the
    caller knows in which order to end.
    """
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=handlers,
        settings=settings(),
        clusterwide=not namespaces,
        namespaces=namespaces,
        standalone=True,
        stop_flag=stop,
    )
    take_signals()
    await kopf.run_tasks(tasks, ignored=ours)
