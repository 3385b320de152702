"""What the demo measures for itself, from the pods' own counters and from the users' side.

Independent of the operator: a figure in the final table is never one that the operator reported
about itself, except the phases and their times.
"""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from commands import NAMESPACE, Programs
from prometheus_client.parser import text_string_to_metric_families
from shop import API

_PORT = 8000
_EVERY_SECONDS = 2.0
_COUNTED = {
    "origin_queries_total": "origin",
    "cache_lookups_total": "lookups",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Rates over one interval that ended at `at` (seconds since the epoch)."""

    at: float
    origin: float
    lookups: float
    hits: float

    @property
    def hit_rate(self) -> float | None:
        """Share of lookups that the cache answered."""
        return self.hits / self.lookups if self.lookups else None


@dataclass(slots=True)
class Samples:
    """Samples as they come in."""

    taken: list[Sample] = field(default_factory=list)

    def between(self, start: float, end: float) -> list[Sample]:
        """Samples whose interval ended in the given time."""
        return [sample for sample in self.taken if start <= sample.at <= end]


@asynccontextmanager
async def proxied(programs: Programs) -> AsyncIterator[str]:
    """The API server on a loopback port, for as long as the demo needs it."""
    process = await asyncio.create_subprocess_exec(
        "kubectl", "proxy", "--port=0", "--address=127.0.0.1",
        env=programs.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if process.stdout is None:
        raise RuntimeError("kubectl proxy has no output to read its port from")
    line = (await process.stdout.readline()).decode()
    try:
        yield f"http://127.0.0.1:{line.rsplit(':', 1)[1].strip()}"
    finally:
        process.terminate()
        await process.wait()


class Sampler:
    """Scrapes the API's pods every two seconds and keeps the rates."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self._base, self._session = base, session
        self._before: dict[str, tuple[float, dict[str, float]]] = {}
        self.samples = Samples()

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            started = time.monotonic()
            await self._sample()
            await asyncio.sleep(max(0.0, _EVERY_SECONDS - (time.monotonic() - started)))

    async def read(self, path: str) -> Any:
        """JSON from the API server; None where it does not answer well."""
        try:
            async with self._session.get(self._base + path) as answer:
                return json.loads(await answer.text()) if answer.status == 200 else None
        except aiohttp.ClientError:
            return None

    async def users(self, since: float) -> dict[str, Any]:
        """What users saw since a moment, as the load generator counted it."""
        report = await self.read(
            f"/api/v1/namespaces/{NAMESPACE}/services/load:8080/proxy/report?since={since}"
        )
        return report or {}

    async def rollout(self) -> dict[str, Any]:
        """The CacheRollout as stored."""
        return (
            await self.read(
                f"/apis/cacherollout.io/v1alpha1/namespaces/{NAMESPACE}/cacherollouts/{API}"
            )
            or {}
        )

    async def _sample(self) -> None:
        pods = await self.read(
            f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/name={API}"
        )
        if pods is None:
            return
        running = {
            pod["metadata"]["uid"]: pod["metadata"]["name"]
            for pod in pods["items"]
            if pod["status"].get("phase") == "Running"
        }
        counted = await asyncio.gather(*(self._count(name) for name in running.values()))
        # Rates go by a clock that is never set; people and statuses by the other.
        now, ticks = time.time(), time.monotonic()  # noqa: TID251 - the moment of the sample
        sums, seconds = dict.fromkeys(("origin", "lookups", "hits"), 0.0), 0.0
        for uid, counters in zip(running, counted, strict=True):
            if counters is None:
                continue
            if uid in self._before:
                at, before = self._before[uid]
                seconds = max(seconds, ticks - at)
                for key in sums:
                    sums[key] += max(0.0, counters[key] - before[key])
            self._before[uid] = (ticks, counters)
        if seconds:
            rates = {key: value / seconds for key, value in sums.items()}
            self.samples.taken.append(Sample(at=now, **rates))

    async def _count(self, pod: str) -> dict[str, float] | None:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:{_PORT}/proxy/metrics"
        try:
            async with self._session.get(self._base + path) as answer:
                if answer.status != 200:
                    return None
                text = await answer.text()
        except aiohttp.ClientError:
            return None
        counters = dict.fromkeys(("origin", "lookups", "hits"), 0.0)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = _COUNTED.get(sample.name)
                if key is not None:
                    counters[key] += sample.value
                if key == "lookups" and sample.labels.get("result") == "hit":
                    counters["hits"] += sample.value
        return counters
