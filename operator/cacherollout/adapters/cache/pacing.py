"""One pace for everything that works on a backend, whichever rollout asked for it.

The engine paces one operation at a time; limits of a CacheBackend hold for all of them together. So
operations run here without a pace of their own, over a server whose every page passes a turnstile:
the server's busy time is counted once, however many pages were in flight, and the pause that the
duty cycle asks for is added to whatever the others have already been made to wait.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from cacherollout.api.backend import Limits as BackendLimits
from cacherollout.cache import Channel, Limits, Primary, Server
from cacherollout.cache.connections import Command, Page, Reply
from cacherollout.cache.servers import Mapped

CREDIT_SECONDS: Final = 0.005
"""Unused time that is carried over: timers wake late, and the average must still hold."""
LEAST_PAUSE_SECONDS: Final = 0.001
"""The event loop's timers know no less: a shorter sleep would last as long."""
PATIENCE_SECONDS: Final = 10.0
"""An operation that got nothing done for so long is shown as failing, and begun again."""


def _none(_: Command) -> int:
    return 0


_KEYS_OF: Final[dict[object, Callable[[Command], int]]] = {
    b"COPY": lambda _: 1,
    b"PEXPIRE": lambda _: 1,
    b"UNLINK": lambda command: len(command) - 1,
}


def engine_limits(limits: BackendLimits) -> Limits:
    """Limits of one operation behind a turnstile: nearly no pause of its own.

    Below 100 % the engine still sends one page at a time and shrinks pages under congestion.
    """
    page_keys = max(10, min(50, limits.keys_per_second))
    return Limits(
        keys_per_second=None,
        duty_cycle_percent=99.9,
        page_keys=page_keys,
        # Walks side by side wait for one another's pages and would take that for congestion.
        min_page_keys=min(20, page_keys),
        memory_ceiling_percent=float(limits.memory_ceiling_percent),
        patience_seconds=PATIENCE_SECONDS,
    )


class Turnstile:
    """Counts what the server does for us and says how long to wait after each page."""

    def __init__(self, limits: BackendLimits) -> None:
        self.limits = limits
        self._busy_until = float("-inf")
        self._free_at = float("-inf")

    def pause_seconds(
        self, *, now: float, sent_at: float, elapsed_seconds: float, idle_seconds: float, keys: int
    ) -> float:
        """How long to wait after a page that wrote `keys`; times are the event loop's.

        `idle_seconds` is a round trip that does nothing: the network's share of a reply time.
        """
        answered_at = sent_at + elapsed_seconds
        # Pages of several operations wait for one another: their times overlap and count once.
        taken = max(0.0, answered_at - max(sent_at, self._busy_until))
        if not taken and not keys:
            return 0.0
        self._busy_until = max(self._busy_until, answered_at)
        busy = max(taken - idle_seconds, taken / 10)
        wait = busy * (100 / self.limits.duty_cycle_percent - 1)
        wait = max(wait, keys / self.limits.keys_per_second - taken)
        self._free_at = max(self._free_at + taken, now - CREDIT_SECONDS) + wait
        pause = self._free_at - now
        # What is not worth a timer is left for the next page to wait out.
        return pause if pause >= LEAST_PAUSE_SECONDS else 0.0


def paced(server: Server, turnstile: Turnstile) -> Server:
    """A server whose pages pass a turnstile."""
    return Mapped(server, lambda primary: _PacedPrimary(primary, turnstile))


class _PacedPrimary:
    def __init__(self, primary: Primary, turnstile: Turnstile) -> None:
        self._primary = primary
        self._turnstile = turnstile

    @asynccontextmanager
    async def session(self, timeout_seconds: float) -> AsyncIterator[Channel]:
        """Lend a channel, paced."""
        async with self._primary.session(timeout_seconds) as channel:
            yield _PacedChannel(channel, self._turnstile)


class _PacedChannel:
    def __init__(self, channel: Channel, turnstile: Turnstile) -> None:
        self._channel = channel
        self._turnstile = turnstile
        self._keys: dict[Page, int] = {}
        self._idle_seconds: float | None = None

    def submit(self, commands: Sequence[Command]) -> Page:
        """Write a page of commands now."""
        page = self._channel.submit(commands)
        names = {command[0] for command in commands}
        self._keys[page] = -1 if names == {b"PING"} else written_keys(commands)
        return page

    async def finish(self, page: Page) -> list[Reply]:
        """Wait for a page's replies, and then for as long as the pace asks."""
        keys = self._keys.pop(page, 0)
        replies = await self._channel.finish(page)
        if keys < 0:
            idle = self._idle_seconds
            self._idle_seconds = min(
                page.elapsed_seconds, page.elapsed_seconds if idle is None else idle
            )
        elif page.elapsed_seconds:
            pause = self._turnstile.pause_seconds(
                now=asyncio.get_running_loop().time(),
                sent_at=page.sent_at,
                elapsed_seconds=page.elapsed_seconds,
                idle_seconds=self._idle_seconds or 0.0,
                keys=keys,
            )
            await asyncio.sleep(pause)
        return replies

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Write a page and wait for its replies."""
        return await self.finish(self.submit(commands))

    def peers(self) -> Sequence[Channel]:
        """The channel's, without a pace: they are looked at, and seldom."""
        return self._channel.peers()


def written_keys(commands: Sequence[Command]) -> int:
    """Keys that a page copies, touches or removes; looking at a key is no touch."""
    return sum(_KEYS_OF.get(command[0], _none)(command) for command in commands)
