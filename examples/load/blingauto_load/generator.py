"""Sends the traffic: primes, ramps up, then keeps its pace whatever the answers are.

Open loop: arrivals do not wait for answers, as users do not wait for one another. In flight is
bounded; an arrival beyond the bound is an error that its user saw (`not_sent`).
"""

import asyncio
import itertools
import logging
from collections.abc import Callable

from blingauto_load.clients import Clients
from blingauto_load.records import Answer, Records
from blingauto_load.settings import LoadSettings
from blingauto_load.traffic import Request, Traffic, read_of

_LOGGER = logging.getLogger(__name__)
_PRIME_CONCURRENCY = 4


class Generator:
    """One run. `phase` is what it is doing: waiting, priming, running or done."""

    def __init__(
        self,
        settings: LoadSettings,
        traffic: Traffic,
        clients: Clients,
        records: Records,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._traffic = traffic
        self._clients = clients
        self._records = records
        self._clock = clock
        self._wall = wall
        self._in_flight: set[asyncio.Task[None]] = set()
        self.phase = "waiting"
        self.running_since: float | None = None

    async def run(self) -> None:
        """Wait for the target, prime it, then send until the time is up and all is answered."""
        await self._wait_for_target()
        self.phase = "priming"
        await self._prime()
        self.phase = "running"
        self.running_since = self._wall()
        await self.send_arrivals()
        self.phase = "done"

    async def _wait_for_target(self) -> None:
        probe = read_of("user", 1)
        while (await self._clients.send(probe, self._clock())).outcome != "ok":
            await asyncio.sleep(1.0)

    async def _prime(self) -> None:
        """Read the most popular entities by few connections, so that no cold start is judged."""
        paths = iter(self._priming_requests())
        end_at = self._clock() + self._settings.prime_seconds
        counts = await asyncio.gather(
            *(self._prime_until(end_at, paths) for _ in range(_PRIME_CONCURRENCY))
        )
        _LOGGER.info("primed %d values", sum(counts))

    async def _prime_until(self, end_at: float, requests: "itertools.chain[Request]") -> int:
        count = 0
        for request in requests:
            if self._clock() >= end_at:
                break
            await self._clients.send(request, self._clock())
            count += 1
        return count

    def _priming_requests(self) -> "itertools.chain[Request]":
        services = (read_of("service", one) for one in self._traffic.services.most_popular_first())
        users = self._traffic.users.most_popular_first()
        pairs = ((read_of("user", one), read_of("bookings", one)) for one in users)
        return itertools.chain(services, itertools.chain.from_iterable(pairs))

    async def send_arrivals(self) -> None:
        """Send until the time is up, then wait for the last answers."""
        started_at = due_at = self._clock()
        end_at = started_at + self._settings.duration_seconds
        while due_at < end_at:
            due_at += self._traffic.gap_seconds(self._rate_at(due_at - started_at))
            delay = due_at - self._clock()
            if delay > 0:
                await asyncio.sleep(delay)
            self._launch(self._traffic.next_request(), due_at)
            if delay <= 0:
                await asyncio.sleep(0)  # late: let answers in all the same
        if self._in_flight:
            await asyncio.wait(self._in_flight)

    def _rate_at(self, elapsed_seconds: float) -> float:
        full = self._settings.requests_per_second
        if self._settings.ramp_seconds <= 0:
            return full
        return full * min(1.0, max(0.1, elapsed_seconds / self._settings.ramp_seconds))

    def _launch(self, request: Request, due_at: float) -> None:
        if len(self._in_flight) >= self._settings.max_in_flight:
            self._records.add(Answer(self._wall(), "not_sent", 0.0))
            return
        task = asyncio.create_task(self._send(request, due_at))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _send(self, request: Request, due_at: float) -> None:
        self._records.add(await self._clients.send(request, due_at))
