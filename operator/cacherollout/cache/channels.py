"""Lending the mirror's connections, so that others' copies count as the mirror's own writes.

Two things make them so: servers do not push what these very connections write, and every key that a
copy may create is held open in `Changes` until no push for what came before can be on its way any
more.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from cacherollout.cache.changes import Changes
from cacherollout.cache.connections import Command, Page, Reply
from cacherollout.cache.reconciling import destination
from cacherollout.cache.servers import Channel, Primary, Watch

Lend = Callable[[float], Awaitable[tuple[Watch, Changes]]]
"""Hands out the mirror's watch and changes within so many seconds, or raises."""


class MirrorChannel:
    """The mirror's channel, lent to others; what they copy counts as the mirror's own writes."""

    def __init__(self, channel: Channel, changes: Changes) -> None:
        self._channel = channel
        self._changes = changes

    def submit(self, commands: Sequence[Command]) -> Page:
        """Write a page of commands now, and note what they may copy onto."""
        opened = _destinations(commands)
        self._changes.open(opened)
        page = self._channel.submit(commands)
        if opened:
            page.future.add_done_callback(partial(self._fence, opened))
        return page

    def _fence(self, opened: Sequence[bytes], _: "asyncio.Future[list[Reply]]") -> None:
        fences = [peer.submit([(b"PING",)]).future for peer in self._channel.peers()]
        closing = asyncio.gather(*fences, return_exceptions=True)
        closing.add_done_callback(lambda _: self._changes.close(opened))

    async def finish(self, page: Page) -> list[Reply]:
        """Wait for a page's replies."""
        return await self._channel.finish(page)

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Write a page and wait for its replies."""
        return await self.finish(self.submit(commands))

    def peers(self) -> Sequence[Channel]:
        """The lent channel's."""
        return self._channel.peers()


class Lent:
    """A primary over the mirror's connections."""

    def __init__(self, lend: Lend, primary: Primary) -> None:
        self._lend = lend
        self._primary = primary

    @asynccontextmanager
    async def session(self, timeout_seconds: float) -> AsyncIterator[Channel]:
        """The mirror's channel, which stays open afterwards."""
        watch, changes = await self._lend(timeout_seconds)
        async with watch.session(self._primary, timeout_seconds) as channel:
            yield MirrorChannel(channel, changes)


def _destinations(commands: Sequence[Command]) -> list[bytes]:
    return [key for command in commands if (key := destination(command)) is not None]
