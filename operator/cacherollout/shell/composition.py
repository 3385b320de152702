"""Builds the process from its parts and ends it in the right order.

Starting: the server, the lag gauge, a look at the API server, the Lease; only then workers and
watches. Ending: no new keys, the passes under way, the caches' works, the Lease, the watches, the
connections. A Lease is given up only when nothing of ours can write any more.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any, Final, NoReturn

from cacherollout.adapters.cache import RedisCaches
from cacherollout.adapters.kube import Client, KubeObjects, KubeRecorder, KubeWorkloads
from cacherollout.adapters.kube.login import Login, log_in
from cacherollout.adapters.kube.resources import BACKENDS, LEASES, ROLLOUTS
from cacherollout.adapters.metrics import PodMetrics
from cacherollout.api.names import Key
from cacherollout.core.conditions import report
from cacherollout.core.decide import decide
from cacherollout.ports.errors import CacheRolloutError, ConflictError
from cacherollout.shell import handlers
from cacherollout.shell.clock import wall_clock
from cacherollout.shell.lease import Lease, end_when_lost
from cacherollout.shell.queues import Outcome, Workers, WorkQueue
from cacherollout.shell.reconciler import Reconciler, World
from cacherollout.shell.server import Health, application, measure_lag, serve
from cacherollout.shell.settings import Settings
from cacherollout.shell.telemetry import Metrics
from cacherollout.shell.wakeups import Wakeups

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 10.0
"""Longest time that passes under way may take to end."""
LOOK_SECONDS: Final = 2.0
"""Time between two looks for an API server that does not answer as it must yet."""


async def run(settings: Settings) -> int:
    """Run one replica until SIGTERM or SIGINT; gives the exit code."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    metrics, health, wakeups = Metrics(), Health(), Wakeups()
    log.info(
        "CacheRollout %s starts.",
        version("cacherollout"),
        extra={"serves": ",".join(settings.namespaces) or "every namespace"},
    )
    async with AsyncExitStack() as stack:
        pages = application(health, metrics.registry, wakeups.__len__)
        runner = await serve(pages, settings.host, settings.port)
        stack.push_async_callback(runner.cleanup)
        lag = asyncio.create_task(measure_lag(health, metrics.loop_lag), name="loop lag")
        stack.callback(lag.cancel)
        client, lease_client = await _connect(settings), await _connect(settings)
        stack.push_async_callback(client.close)
        stack.push_async_callback(lease_client.close)
        lease = Lease(_KubeLease(lease_client, settings), settings.replica(), wall_clock)
        if not await _unless(stop, _look_around(client, settings, health)):
            return 0
        if not await _unless(stop, lease.acquire()):
            return 0
        metrics.leader.set(1)
        return await _lead(settings, client, lease, metrics, health, wakeups, stop)


async def _lead(
    settings: Settings,
    client: Client,
    lease: Lease,
    metrics: Metrics,
    health: Health,
    wakeups: Wakeups,
    stop: asyncio.Event,
) -> int:
    """Work as the holder of the Lease until told to stop, or until a part of the process ends."""
    queue = WorkQueue(metrics)
    caches = RedisCaches(KubeObjects(client), wall_clock)
    pods = PodMetrics(wall_clock)
    world = World(
        KubeWorkloads(client, wall_clock),
        caches,
        pods,
        KubeRecorder(client, wall_clock),
        lease.may_act,
    )
    reconciler = Reconciler(world, decide=decide, report=report, clock=wall_clock, watcher=metrics)

    async def look(key: Key) -> Outcome:
        outcome = await reconciler.reconcile(key)
        if not outcome.is_failure:
            health.looked()
        return outcome

    def wake(keys: Iterable[Key]) -> None:
        health.looked()
        for key in keys:
            queue.add(key)

    async def login() -> Login:
        return await log_in(settings.kubeconfig, settings.context)

    # Everything of ours starts before kopf, which ends whatever was started after it.
    workers = asyncio.create_task(
        Workers(queue, look, count=settings.workers).run(), name="workers"
    )
    keeper = asyncio.create_task(end_when_lost(lease, _end), name="lease")
    told = asyncio.create_task(stop.wait(), name="stop")
    stop_watching = asyncio.Event()
    registry = handlers.registry(wakeups, wake, login, wall_clock)
    watches = asyncio.create_task(
        handlers.watch(
            registry,
            settings.namespaces,
            stop_watching,
            take_signals=lambda: _stop_on_signals(stop),
        ),
        name="watches",
    )
    parts = {workers, keeper, told, watches}
    await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    is_asked = told.done()
    if not is_asked:
        _say_what_ended({workers, keeper, watches})

    queue.close()
    await _let_end(workers, GRACE_SECONDS)
    await caches.close()
    await pods.close()
    keeper.cancel()
    await lease.release()
    metrics.leader.set(0)
    stop_watching.set()
    await _let_end(watches, GRACE_SECONDS)
    told.cancel()
    log.info("Ended.")
    return 0 if is_asked else 1


async def _look_around(client: Client, settings: Settings, health: Health) -> None:
    """Wait until the API server knows our kinds: a watch on an unknown kind would never begin."""
    namespace = (*settings.namespaces, settings.lease_namespace)[0]
    said = ""
    while True:
        try:
            for kind in (ROLLOUTS, BACKENDS):
                await client.select(kind, namespace)
        except ConflictError as error:
            state = f"The custom resource definitions are not installed yet: {error}"
        except CacheRolloutError as error:
            state = f"The API server is not usable yet: {error}"
        else:
            health.is_started = True
            return
        if state != said:  # a state is said once, however long it lasts
            log.warning("%s", state)
            said = state
        await asyncio.sleep(LOOK_SECONDS)


async def _connect(settings: Settings) -> Client:
    if settings.kubeconfig is None:
        return await Client.in_cluster()
    return await Client.from_kubeconfig(settings.kubeconfig, settings.context)


async def _unless(stop: asyncio.Event, work: Awaitable[None]) -> bool:
    """Await `work` unless told to stop first; False where it did not end."""
    doing, told = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({doing, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if doing.done():
        doing.result()
        return not stop.is_set()
    await _let_end(doing, 0.0)
    return False


async def _let_end(task: asyncio.Future[None], grace_seconds: float) -> None:
    """Wait for a task, then cancel it; what it raised was logged or is logged here."""
    await asyncio.wait({task}, timeout=grace_seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)


def _say_what_ended(parts: set[asyncio.Task[Any]]) -> None:
    for part in parts:
        if part.done():
            error = None if part.cancelled() else part.exception()
            log.critical("The %s ended; the process follows.", part.get_name(), exc_info=error)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _end(reason: str) -> NoReturn:
    """End at once: a process that may not write must not get to its clean-up, which writes."""
    log.critical(
        "The Lease is lost: %s. This process ends; it starts again as a candidate.", reason
    )
    logging.shutdown()
    os._exit(1)


class _KubeLease:
    """The Lease as an object of the cluster."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._namespace = settings.lease_namespace
        self._name = settings.lease_name

    async def read(self) -> dict[str, Any] | None:
        return await self._client.get(LEASES, self._namespace, self._name)

    async def create(self, spec: dict[str, Any]) -> dict[str, Any]:
        manifest = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }
        return await self._client.create(LEASES, self._namespace, manifest)

    async def replace(self, lease: dict[str, Any]) -> dict[str, Any]:
        return await self._client.replace(LEASES, self._namespace, lease)
