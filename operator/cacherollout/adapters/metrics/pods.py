"""Metrics by direct scrape: asks every pod of a rollout for its counters, once an interval.

Addresses come from the pods that are handed in and from nowhere else: the spec may choose a port and
a path on its own pods, no host. What a pod answers is believed only as numbers.
"""

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import yarl

from cacherollout.adapters.metrics.counters import count_page
from cacherollout.adapters.metrics.exposition import UnusablePageError, read_page
from cacherollout.adapters.metrics.names import CONTRACT, MetricNames
from cacherollout.api.names import Key
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.facts import Measurement, PodFacts, PodMeasurement, Problem

POD_SECONDS = 2.0
"""Time for one pod to answer completely."""
ROUND_SECONDS = 4.0
"""Time for all pods together, so that a rollout of many dead pods still gets its passes."""
MAX_CONCURRENT = 20
MAX_BODY_BYTES = 1 << 20
THREADED_BODY_BYTES = 128 << 10
"""Larger pages are read beside the event loop: one of the maximum size takes 120 ms."""
EARLY_SECONDS = 0.1
"""A pass that comes this much early still measures; else timers would skip every second turn."""

_HEADERS = {
    "Accept": "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5",
    # A compressed body of 1 KiB may unfold to a gigabyte; a page of counters is small enough.
    "Accept-Encoding": "identity",
}


class _ScrapeError(Exception):
    """Why one pod gave no counters; ends in the measurement's problem."""


@dataclass(frozen=True, slots=True)
class _Round:
    """What all scrapes of one measurement share; `ends_at` is on the event loop's clock."""

    spec: CacheRolloutSpec
    slots: asyncio.Semaphore
    ends_at: float


def _open_session() -> aiohttp.ClientSession:
    """No proxies, cookies or decompression."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=100, limit_per_host=2, keepalive_timeout=75),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        timeout=aiohttp.ClientTimeout(total=POD_SECONDS),
        auto_decompress=False,
        trust_env=False,
    )


class PodMetrics:
    """Implements ports.metrics.Metrics; `clock` gives seconds since the epoch. To be closed."""

    def __init__(self, clock: Callable[[], float], names: MetricNames = CONTRACT) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._clock = clock
        self._names = names
        self._newest: dict[Key, Measurement] = {}
        self._begun_at: dict[Key, float] = {}

    async def measure(
        self, key: Key, spec: CacheRolloutSpec, pods: tuple[PodFacts, ...]
    ) -> Measurement | None:
        """The newest measurement, after a scrape where one is due; None before the first."""
        now = self._clock()
        begun_at = self._begun_at.get(key)
        # A clock that was set back must not stop the measurements until it has caught up.
        if begun_at is not None and 0 <= now - begun_at < spec.metrics.interval - EARLY_SECONDS:
            return self._newest.get(key)
        self._begun_at[key] = now
        measurement = await self._scrape_all(now, spec, pods)
        if key in self._begun_at:
            self._newest[key] = measurement
        return measurement

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a rollout."""
        self._begun_at.pop(key, None)
        self._newest.pop(key, None)

    async def close(self) -> None:
        """Close the connections to the pods."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _scrape_all(
        self, now: float, spec: CacheRolloutSpec, pods: tuple[PodFacts, ...]
    ) -> Measurement:
        answering = sorted(
            (pod for pod in pods if pod.ip and pod.are_containers_ready and not pod.is_terminating),
            key=lambda pod: pod.name,
        )
        ends_at = asyncio.get_running_loop().time() + ROUND_SECONDS
        turn = _Round(spec, asyncio.Semaphore(MAX_CONCURRENT), ends_at)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._scrape_or_say(turn, pod)) for pod in answering]
        results = [task.result() for task in tasks]
        measured = tuple(one for one in results if isinstance(one, PodMeasurement))
        silent = {
            pod.name: one
            for pod, one in zip(answering, results, strict=True)
            if isinstance(one, str)
        }
        return Measurement(now, measured, _problem(silent, len(answering)))

    async def _scrape_or_say(self, turn: _Round, pod: PodFacts) -> PodMeasurement | str:
        """Counters of one pod, or why there are none."""
        try:
            async with asyncio.timeout_at(turn.ends_at), turn.slots:
                return await self._scrape(turn.spec, pod)
        except _ScrapeError as error:
            return str(error)
        except TimeoutError:
            return f"no turn within {ROUND_SECONDS:g} s, since other pods did not answer"

    async def _scrape(self, spec: CacheRolloutSpec, pod: PodFacts) -> PodMeasurement:
        url = _url(spec, pod)
        body = await self._get(url)

        def count() -> PodMeasurement:
            return count_page(
                read_page(body.decode(), self._names.on_page()),
                self._names,
                uid=pod.uid,
                version=pod.version or spec.cache.initial_version,
                slow_above_seconds=spec.gates.cache_latency.p95,
            )

        try:
            is_large = len(body) > THREADED_BODY_BYTES
            return await asyncio.to_thread(count) if is_large else count()
        except UnicodeDecodeError:
            raise _ScrapeError(f"{url} is not UTF-8 text; set metrics.path") from None
        except UnusablePageError as error:
            raise _ScrapeError(f"{url} cannot be used: {error}") from error

    async def _get(self, url: yarl.URL) -> bytes:
        if self._session is None:
            self._session = _open_session()
        fix = "check metrics.port and metrics.path, and the NetworkPolicies of the namespace"
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                _refuse_unless_text(url, response)
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise _ScrapeError(
                            f"{url} is larger than {MAX_BODY_BYTES} bytes; expose fewer series"
                        )
                return bytes(body)
        except TimeoutError:
            raise _ScrapeError(f"{url} took longer than {POD_SECONDS:g} s; {fix}") from None
        except aiohttp.ClientError as error:
            raise _ScrapeError(f"{url} failed with {type(error).__name__}; {fix}") from error


def _url(spec: CacheRolloutSpec, pod: PodFacts) -> yarl.URL:
    port = spec.metrics.port or pod.metrics_port
    if port is None:
        raise _ScrapeError("its container declares no port; set metrics.port")
    try:
        host = str(ipaddress.ip_address(pod.ip))
    except ValueError:
        raise _ScrapeError(f"its address {pod.ip[:64]!r} is not an IP address") from None
    return yarl.URL.build(scheme="http", host=host, port=port, path=spec.metrics.path)


def _refuse_unless_text(url: yarl.URL, response: aiohttp.ClientResponse) -> None:
    if response.status != 200:
        raise _ScrapeError(
            f"{url} answered with status {response.status}; set metrics.port and metrics.path"
        )
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise _ScrapeError(
            f"{url} is compressed although that was not asked for; switch compression off there"
        )
    if response.content_type not in {"text/plain", "application/openmetrics-text"}:
        raise _ScrapeError(
            f"{url} is {response.content_type[:64]!r}, not a page of metrics; set metrics.path"
        )


def _problem(silent: dict[str, str], asked: int) -> Problem | None:
    """One sentence about the pods that are missing, with the first of them as the example."""
    if not silent:
        return None
    name, why = next(iter(silent.items()))
    message = f"{len(silent)} of {asked} pods gave no counters, such as {name}: {why}"
    return Problem(Reason.METRICS_UNAVAILABLE, message)
