"""The process's own HTTP server: `/healthz`, `/readyz`, `/metrics`. Read-only, nothing to configure.

A replica that stands by is live and ready: ready means able to take over, so that a rolling update
of the operator and its PodDisruptionBudget count it. Which one works shows in the metric
`cacherollout_leader`. Liveness fails where a restart would help: the loop hangs, or rollouts are
known and none has been read for three resync periods.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

TICK_SECONDS: Final = 1.0
MAX_LAG_SECONDS: Final = 5.0
MAX_SILENCE_SECONDS: Final = 180.0


@dataclass(slots=True)
class Health:
    """What the checks look at; times are those of the event loop."""

    is_started: bool = False
    """The API server answered once, so that this replica can take over."""
    looked_at: float | None = None
    """When a rollout was last read, or an event last came in."""
    lag_seconds: float = 0.0

    def looked(self) -> None:
        """The API server just told something about a rollout."""
        self.looked_at = asyncio.get_running_loop().time()

    def trouble(self, now: float, rollouts: int) -> str:
        """Why a restart would help; empty when all is well."""
        if self.lag_seconds > MAX_LAG_SECONDS:
            return f"the event loop was {self.lag_seconds:.1f} s late"
        if rollouts and self.looked_at is not None:
            silence = now - self.looked_at
            if silence > MAX_SILENCE_SECONDS:
                return f"no rollout of {rollouts} was read for {silence:.0f} s"
        return ""


async def measure_lag(health: Health, gauge: Gauge) -> None:
    """Keep measuring how late the event loop is; never ends."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        health.lag_seconds = max(0.0, loop.time() - due)
        gauge.set(health.lag_seconds)


def application(
    health: Health, registry: CollectorRegistry, rollouts: Callable[[], int]
) -> web.Application:
    """The three pages; `rollouts` counts those that this replica knows of."""

    async def healthz(_: web.Request) -> web.Response:
        trouble = health.trouble(asyncio.get_running_loop().time(), rollouts())
        return web.Response(text=trouble or "ok", status=503 if trouble else 200)

    async def readyz(_: web.Request) -> web.Response:
        if not health.is_started:
            return web.Response(text="the API server has not answered yet", status=503)
        return web.Response(text="ok")

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    pages = web.Application()
    pages.router.add_get("/healthz", healthz)
    pages.router.add_get("/readyz", readyz)
    pages.router.add_get("/metrics", metrics)
    return pages


async def serve(pages: web.Application, host: str, port: int) -> web.AppRunner:
    """Start serving; `cleanup()` of what is given back ends it. OSError: the port is taken."""
    runner = web.AppRunner(pages, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
