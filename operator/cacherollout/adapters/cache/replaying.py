"""Replay: asks canary pods for the hot ids, so that they fill their namespace themselves.

Requests go to the pods that are handed in and to the path in the spec, whose only variable is an id
out of the cache, percent-encoded into one segment. What comes back is read to its end, up to a
bound, and thrown away.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import aiohttp
import yarl

from cacherollout.adapters.cache.problems import problem
from cacherollout.adapters.cache.workplaces import Workplace
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import Family
from cacherollout.cache import Coverage, Hot
from cacherollout.cache import Family as EngineFamily
from cacherollout.core.actions import ReplayWork
from cacherollout.core.facts import FamilyProgress, PodFacts, WorkFacts

MAX_CONCURRENT: Final = 8
PATIENCE_SECONDS: Final = 0.1
"""How long an answer may take before replaying falls behind its rate: no more requests wait at a time
than come in this time (Little's law). An origin that gets slower is asked less at once."""
REQUEST_SECONDS: Final = 5.0
MAX_BODY_BYTES: Final = 64 << 10
CHUNK_IDS: Final = 100
"""Ids that are skipped together where the namespace holds all of them."""
LOOK_SECONDS: Final = 2.0
"""Time between two looks at how much of all ids the namespace holds."""
MAX_FAILURES: Final = 50
"""Failures without one success in between, after which asking on is pointless."""
MAX_ID_BYTES: Final = 512
_FOUND: Final = frozenset((200, 203, 204, 404, 410))
"""An answer that came through the cache; what does not exist is an answer too."""
_RATE_MEMORY: Final = 32
"""Answers that the shown rate is the mean of."""


def replay_session() -> aiohttp.ClientSession:
    """A session fit for replaying: no proxies, no cookies. To be closed."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=100, limit_per_host=MAX_CONCURRENT),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "cacherollout-replay", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
        auto_decompress=False,
        trust_env=False,
    )


@dataclass(slots=True)
class _FamilyReplay:
    """The hot ids of one family, and how many of them the new namespace holds."""

    family: Family
    ids: tuple[bytes, ...]
    covered: int = 0
    probed_at: float = float("-inf")

    @property
    def coverage(self) -> float:
        """Share (0…1) of the ids that the new namespace holds."""
        return self.covered / len(self.ids) if self.ids else 1.0


class ReplayRunner:
    """Runs a ReplayWork; done when every family is covered, or its hot ids are used up."""

    def __init__(self, place: Workplace, work: ReplayWork) -> None:
        self._place = place
        self._work = work
        self._families: dict[str, _FamilyReplay] = {}
        self._answers: deque[float] = deque(maxlen=_RATE_MEMORY)
        self._answered = 0
        self._failures = 0
        self._last_failure = ""
        self._next_at = 0.0
        self._turn = 0
        """Picks the next pod."""

    @property
    def mark(self) -> object:
        """Requests answered."""
        return self._answered

    def adjust(self, work: ReplayWork) -> None:
        """Take over another rate or goal, from the next request on."""
        self._work = work

    async def run(self) -> None:
        """Replay every family, the hottest ids first."""
        self._failures = 0
        place, work = self._place, self._work
        engine = {family.name: family for family in place.families()}
        hot = await Hot(
            place.server(), tuple(engine.values()), version=work.source, limits=place.limits
        ).run()
        declared = {family.name: family for family in place.spec.cache.families}
        self._families = {
            found.family: _FamilyReplay(declared[found.family], tuple(found.ids))
            for found in hot.families
            if found.family in work.families
        }
        for name, replay in self._families.items():
            await self._fill(engine[name], replay)

    async def _fill(self, family: EngineFamily, replay: _FamilyReplay) -> None:
        loop = asyncio.get_running_loop()
        await self._look(family, replay)
        for at in range(0, len(replay.ids), CHUNK_IDS):
            if loop.time() - replay.probed_at >= LOOK_SECONDS:
                await self._look(family, replay)
            if replay.coverage >= self._work.coverage:
                return
            ids = replay.ids[at : at + CHUNK_IDS]
            if await self._count(family, ids) < len(ids):
                await self._ask_for(replay.family, ids)
        await self._look(family, replay)

    async def _look(self, family: EngineFamily, replay: _FamilyReplay) -> None:
        """Count afresh: values expire while others are filled."""
        replay.covered = await self._count(family, replay.ids)
        replay.probed_at = asyncio.get_running_loop().time()

    async def _count(self, family: EngineFamily, ids: Sequence[bytes]) -> int:
        place = self._place
        coverage = Coverage(
            place.server(), family, version=self._work.target, ids=ids, limits=place.limits
        )
        return (await coverage.run()).present if ids else 0

    async def _ask_for(self, family: Family, ids: Sequence[bytes]) -> None:
        waiting = deque(one for one in ids if _is_sendable(one))

        async def ask() -> None:
            while waiting and self._failures < MAX_FAILURES:
                await self._wait_for_turn()
                self._note(await self._request(family, waiting.popleft()) if waiting else None)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrent, len(waiting))):
                group.create_task(ask())
        if self._failures >= MAX_FAILURES:
            raise problem(
                Reason.CANARY_NOT_READY,
                f"the canary does not answer replayed requests to {family.replay_path} (the last "
                f"{self._failures} failed, now with {self._last_failure}); correct replayPath of "
                f"family {family.name}, or the release",
            )

    @property
    def _concurrent(self) -> int:
        return min(MAX_CONCURRENT, math.ceil(self._work.per_second * PATIENCE_SECONDS))

    async def _request(self, family: Family, identifier: bytes) -> str:
        """Ask for one id; gives what went wrong, empty when nothing did."""
        pod = await self._next_pod()
        port = pod.metrics_port or self._place.spec.metrics.port
        if port is None:
            return f"no containerPort declared by pod {pod.name}"
        path = (family.replay_path or "/").replace("{id}", quote(identifier, safe=""))
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        url = yarl.URL(f"http://{host}:{port}{path}", encoded=True)
        try:
            async with self._place.http.get(url, allow_redirects=False) as response:
                await _drain(response)
                return "" if response.status in _FOUND else f"status {response.status}"
        except TimeoutError:
            return f"no answer within {REQUEST_SECONDS:g} s"
        except aiohttp.ClientError as error:
            return type(error).__name__

    def _note(self, failure: str | None) -> None:
        if failure is None:
            return
        if failure:
            self._failures += 1
            self._last_failure = failure
            return
        self._failures = 0
        self._answered += 1
        self._answers.append(asyncio.get_running_loop().time())

    async def _wait_for_turn(self) -> None:
        """Keep to the rate, which may change at any time."""
        now = asyncio.get_running_loop().time()
        self._next_at = max(self._next_at, now) + 1 / self._work.per_second
        await asyncio.sleep(self._next_at - now)

    async def _next_pod(self) -> PodFacts:
        """The canary pods in turn; waits until there is one that runs the new version."""
        place = self._place
        while True:
            place.pods_changed.clear()
            fit = [
                pod
                for pod in place.pods
                if pod.is_canary
                and pod.ip
                and pod.are_containers_ready
                and not pod.is_terminating
                and pod.version == self._work.target
            ]
            if fit:
                self._turn += 1
                return fit[self._turn % len(fit)]
            await place.pods_changed.wait()

    def facts(self) -> WorkFacts:
        """Ids asked for and coverage of each family."""
        rate = 0.0
        if len(self._answers) > 1:
            now = asyncio.get_running_loop().time()
            rate = len(self._answers) / max(now - self._answers[0], 1e-3)
        families = tuple(self._progress(name) for name in self._work.families)
        left = sum(max(0, one.total - one.done) for one in families)
        return WorkFacts(
            self._work.key,
            families=families,
            keys_per_second=rate,
            eta_seconds=left / rate if rate and left else None,
        )

    def _progress(self, name: str) -> FamilyProgress:
        replay = self._families.get(name)
        if replay is None:
            return FamilyProgress(name)
        return FamilyProgress(
            name, done=replay.covered, total=len(replay.ids), coverage=replay.coverage
        )


def _is_sendable(identifier: bytes) -> bool:
    """Whether an id can stand in a path: dots would be taken for directories, and be resolved."""
    return identifier not in (b".", b"..") and len(identifier) <= MAX_ID_BYTES


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the body so that the connection can be used again; give up on a large one."""
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            response.close()
            return
