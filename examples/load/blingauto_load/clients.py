"""HTTP clients that come and go, as users do, so that new endpoints are found and old ones left.

Each keeps its connections for a few seconds only; a kept connection stays with its pod even after the
Service stopped naming it, which is exactly what real users' connections do.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from blingauto_load.judge import Judge
from blingauto_load.records import Answer, Outcome
from blingauto_load.traffic import Request


@dataclass(slots=True, eq=False)
class _Lease:
    session: ClientSession
    ends_at: float
    users: int = 0


class Clients:
    """`count` clients, each replaced after about `connection_seconds`."""

    def __init__(
        self,
        target: str,
        judge: Judge,
        *,
        count: int,
        connection_seconds: float,
        timeout_seconds: float,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._target = target
        self._judge = judge
        self._connection_seconds = connection_seconds
        self._timeout = ClientTimeout(total=timeout_seconds)
        self._clock = clock
        self._wall = wall
        self._leases: list[_Lease | None] = [None] * count

    async def send(self, request: Request, due_at: float) -> Answer:
        """Send one request and judge what came back; never raises for the target's faults.

        Its latency counts from `due_at`, so that a generator that lags shows, instead of flattering.
        """
        lease = await self._borrow()
        try:
            return await self._exchange(lease.session, request, due_at)
        except TimeoutError:
            return self._answer("timeout", due_at)
        except (ClientError, OSError):
            return self._answer("connection", due_at)
        finally:
            lease.users -= 1
            if lease.users == 0 and lease not in self._leases:
                await lease.session.close()

    async def close(self) -> None:
        """Close every connection."""
        for lease in self._leases:
            if lease is not None:
                await lease.session.close()

    async def _exchange(self, session: ClientSession, request: Request, due_at: float) -> Answer:
        sent_at = self._clock()
        async with session.request(
            request.method, self._target + request.path, json=request.body
        ) as response:
            data = await response.read()
        answered_at = self._clock()
        outcome = _outcome_of_status(response.status)
        if outcome == "ok":
            try:
                body = json.loads(data)
            except ValueError:
                body = None
            verdict = self._judge.judge(request, body, sent_at, answered_at)
            outcome = "ok" if verdict == "fine" else verdict
        headers = response.headers
        return self._answer(
            outcome,
            due_at,
            release=headers.get("X-Release", ""),
            cache_version=headers.get("X-Cache-Version", ""),
            pod=headers.get("X-Pod", ""),
        )

    def _answer(
        self,
        outcome: Outcome,
        due_at: float,
        *,
        release: str = "",
        cache_version: str = "",
        pod: str = "",
    ) -> Answer:
        seconds = self._clock() - due_at
        return Answer(self._wall(), outcome, seconds, release, cache_version, pod)

    async def _borrow(self) -> _Lease:
        slot = random.randrange(len(self._leases))  # noqa: S311 - no secret
        lease = self._leases[slot]
        if lease is not None and lease.ends_at > self._clock():
            lease.users += 1
            return lease
        spread = random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        ends_at = self._clock() + self._connection_seconds * spread
        self._leases[slot] = new = _Lease(self._new_session(), ends_at, users=1)
        # One that is still in use is closed by its last user instead.
        if lease is not None and lease.users == 0:
            await lease.session.close()
        return new

    def _new_session(self) -> ClientSession:
        return ClientSession(
            connector=TCPConnector(limit=0),
            timeout=self._timeout,
            cookie_jar=DummyCookieJar(),
        )


def _outcome_of_status(status: int) -> Outcome:
    if status == 503:
        return "http_503"
    if status >= 500:
        return "http_5xx"
    return "http_4xx" if status >= 400 else "ok"
