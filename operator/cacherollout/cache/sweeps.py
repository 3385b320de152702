"""The one loop under every operation: walk over keys, page by page, politely, and survive.

A page is a batch of keys out of SCAN (or out of a list). What to do with it is a generator that the
operation supplies: it yields pages of commands and is sent their replies, so it is pure and needs
no server to be tested. The walk overlaps the next SCAN with the page at hand, paces itself, waits
out a server that is away, and goes on where it was; if the server process is another one by then,
cursors mean nothing any more and it begins again, which is safe because pages are idempotent.
"""

import asyncio
import copy
import statistics
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from cacherollout.cache.connections import Command, Page, Reply
from cacherollout.cache.errors import TRANSIENT, CacheError, GoneError
from cacherollout.cache.facts import ServerFacts, read_facts
from cacherollout.cache.feeds import START, Feed, ScanFeed
from cacherollout.cache.keys import Match, OpenScope, Scope
from cacherollout.cache.limits import Limits
from cacherollout.cache.pacers import Pacer
from cacherollout.cache.progress import Meter, Progress
from cacherollout.cache.servers import Channel, Primary, Server, Tour

Steps = Generator[Sequence[Command], list[Reply], None]
"""What happens to one page: commands out, replies in, as often as needed."""

ReportT = TypeVar("ReportT")
TallyT = TypeVar("TallyT")

_PINGS: Final = 9
_FIRST_RETRY_SECONDS: Final = 0.05
_LAST_RETRY_SECONDS: Final = 2.0


@dataclass(slots=True)
class _Position(Generic[TallyT]):
    """Where a walk over one primary stands, and what the counts were when it began there."""

    tally: TallyT
    meter: Meter
    cursor: bytes = START
    run_id: str = ""
    progressed_at: float = 0.0


class _Patience:
    """Waits out what passes, ever longer, until nothing got done for too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._progressed_at = asyncio.get_running_loop().time()
        self._retry_seconds = _FIRST_RETRY_SECONDS

    async def wait(
        self, error: CacheError, *, has_progressed: bool = False, progressed_at: float = 0.0
    ) -> None:
        """Wait before the next try; raise `error` where patience is at its end."""
        self._progressed_at = max(self._progressed_at, progressed_at)
        if asyncio.get_running_loop().time() - self._progressed_at >= self._seconds:
            raise error
        if has_progressed:
            self._retry_seconds = _FIRST_RETRY_SECONDS
        await asyncio.sleep(self._retry_seconds)
        self._retry_seconds = min(2 * self._retry_seconds, _LAST_RETRY_SECONDS)


class _Work:
    """One page's generator and the commands it has on the wire."""

    def __init__(self, steps: Steps, channel: Channel) -> None:
        self._steps = steps
        self._channel = channel
        self._page: Page | None = None
        self.elapsed_seconds = 0.0
        self._advance(None)

    def _advance(self, replies: list[Reply] | None) -> None:
        try:
            commands = next(self._steps) if replies is None else self._steps.send(replies)
        except StopIteration:
            self._page = None
        else:
            self._page = self._channel.submit(commands)

    async def finish(self) -> None:
        while self._page is not None:
            replies = await self._channel.finish(self._page)
            self.elapsed_seconds += self._page.elapsed_seconds
            self._advance(replies)


class Sweep(ABC, Generic[TallyT, ReportT]):
    """An operation that walks over keys. Subclasses say what to do with a page, and count.

    `run` may be cancelled at any await and called again, which begins at the start; nothing it does
    is harmful twice. Counts live in `tally`, so that beginning again can put them back.
    """

    def __init__(
        self, server: Server, scope: Scope | OpenScope, limits: Limits, tally: TallyT
    ) -> None:
        self._server = server
        self._scope = scope
        self._limits = limits
        self._tally = tally
        self._blank = copy.deepcopy(tally)
        self._meter = Meter()
        self._began_at: float | None = None
        self._ended_at: float | None = None

    @property
    def progress(self) -> Progress:
        """How far the operation is; call it from the event loop that runs it."""
        if self._began_at is None:
            return Progress()
        now = asyncio.get_running_loop().time() if self._ended_at is None else self._ended_at
        return self._meter.snapshot(now - self._began_at)

    async def run(self) -> ReportT:
        """Walk over all primaries.

        Raises:
            RefusedError: Credentials or rights are missing.
            UnreachableError, NotReadyError, ReadOnlyError: For longer than the patience.
            CacheError: Whatever else the operation documents.

        """
        loop = asyncio.get_running_loop()
        self._began_at = loop.time()
        self._ended_at = None
        self._tally = copy.deepcopy(self._blank)
        self._meter = Meter()
        await self._prepare()
        tour = self._tour()
        while (primary := await self._next(tour)) is not None:
            self._meter.unseen = tour.unseen
            await self._walk(primary)
        self._meter.is_finished = True
        self._ended_at = loop.time()
        return self._report()

    # what subclasses supply

    @abstractmethod
    def _steps(self, matches: Sequence[Match]) -> Steps:
        """What to do with a page of keys; count at the end, when all replies are in."""

    @abstractmethod
    def _report(self) -> ReportT:
        """What the tally says."""

    def _feed(self) -> Feed:
        return ScanFeed(self._scope.pattern)

    def _tour(self) -> Tour:
        """The primaries that have to be walked over."""
        return self._server.tour()

    async def _prepare(self) -> None:
        """Look before the walk begins; raise to refuse it."""

    def _arrive(self, facts: ServerFacts) -> None:
        """Note what a primary says about itself, before its first page."""

    async def _between(self, channel: Channel) -> None:
        """Look between pages; raise to stop the walk."""

    def _has_enough(self) -> bool:
        """Whether a walk that only samples may end early."""
        return False

    # the walk

    async def _walk(self, primary: Primary) -> None:
        position = _Position(copy.deepcopy(self._tally), copy.deepcopy(self._meter))
        patience = _Patience(self._limits.patience_seconds)
        while True:
            before = position.cursor
            try:
                async with primary.session(self._limits.timeout_seconds) as channel:
                    idle_seconds = await self._resume(channel, position)
                    await self._pages(channel, position, idle_seconds)
                    return
            except GoneError:
                self._put_back(position)
                return
            except TRANSIENT as error:
                await patience.wait(
                    error,
                    has_progressed=position.cursor != before,
                    progressed_at=position.progressed_at,
                )

    async def _next(self, tour: Tour) -> Primary | None:
        patience = _Patience(self._limits.patience_seconds)
        while True:
            try:
                return await tour.next()
            except TRANSIENT as error:
                await patience.wait(error)

    def _put_back(self, position: _Position[TallyT]) -> None:
        """Count as if the walk over this primary had not begun."""
        self._tally = copy.deepcopy(position.tally)
        self._meter = copy.deepcopy(position.meter)

    async def _resume(self, channel: Channel, position: _Position[TallyT]) -> float:
        """Begin, or go on, or begin again on another process; return an idle round trip."""
        facts = await read_facts(channel)
        if position.run_id != facts.run_id:
            position.run_id = facts.run_id
            position.cursor = START
            self._put_back(position)
            self._meter.keyspace += facts.keys
            self._arrive(facts)
        round_trips = []
        for _ in range(_PINGS):
            page = channel.submit([(b"PING",)])
            await channel.finish(page)
            round_trips.append(page.elapsed_seconds)
        return statistics.median(round_trips)

    async def _pages(
        self, channel: Channel, position: _Position[TallyT], idle_seconds: float
    ) -> None:
        pacer = Pacer(self._limits, idle_seconds=idle_seconds)
        feed = self._feed()
        cursor, count = position.cursor, pacer.count
        fetch = channel.submit(feed.ask(cursor, count))
        late: tuple[_Work, bytes, list[Match]] | None = None
        while True:
            following, keys = feed.take(cursor, count, await channel.finish(fetch))
            matches = self._scope.matches(keys)
            self._meter.examined += count
            pacer.learn(examined=count, keys=len(matches))
            is_last = following == START
            if not is_last:
                cursor, count = following, pacer.count
                fetch = channel.submit(feed.ask(cursor, count))
            work = _Work(self._steps(matches), channel)
            if late is not None:
                await self._settle(channel, position, *late)
            late = (work, following, matches)
            if is_last or self._limits.is_throttled or self._has_enough():
                await self._settle(channel, position, *late)
                late = None
            if is_last or self._has_enough():
                return
            if self._limits.is_throttled:
                await channel.finish(fetch)
                pause = pacer.pause_seconds(
                    now=asyncio.get_running_loop().time(),
                    elapsed_seconds=max(work.elapsed_seconds, fetch.elapsed_seconds),
                    keys=len(matches),
                )
                await asyncio.sleep(pause)

    async def _settle(
        self,
        channel: Channel,
        position: _Position[TallyT],
        work: _Work,
        following: bytes,
        matches: list[Match],
    ) -> None:
        await work.finish()
        self._meter.families.update(match.family.name for match in matches)
        position.cursor = following
        position.progressed_at = asyncio.get_running_loop().time()
        await self._between(channel)
