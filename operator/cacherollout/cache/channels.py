"""Lending the mirror's connection, so that others' copies count as the mirror's own writes.

Two things make them so: the server does not push what this very connection writes, and every key
that a COPY may create is held open in `Changes` until no push for what came before can be on its
way any more.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from cacherollout.cache.changes import Changes
from cacherollout.cache.connections import Command, Connection, Page, Reply
from cacherollout.cache.reconciling import destination
from cacherollout.cache.servers import Channel, Primary


class MirrorChannel:
    """The mirror's connection, lent to others; what they copy counts as the mirror's own writes."""

    def __init__(self, connection: Connection, changes: Changes) -> None:
        self._connection = connection
        self._changes = changes

    def submit(self, commands: Sequence[Command]) -> Page:
        """Write a page of commands now, and note what they may copy onto."""
        opened = _destinations(commands)
        self._changes.open(opened)
        page = self._connection.submit(commands)
        if opened:
            page.future.add_done_callback(partial(self._fence, opened))
        return page

    def _fence(self, opened: Sequence[bytes], _: "asyncio.Future[list[Reply]]") -> None:
        fence = self._connection.submit([(b"PING",)])
        fence.future.add_done_callback(lambda _: self._changes.close(opened))

    async def finish(self, page: Page) -> list[Reply]:
        """Wait for a page's replies."""
        return await self._connection.finish(page)

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Write a page and wait for its replies."""
        return await self.finish(self.submit(commands))


class OneConnection:
    """A `Server` and `Primary` that is one particular connection, for as long as that lasts."""

    def __init__(self, connection: Connection, changes: Changes) -> None:
        self._channel = MirrorChannel(connection, changes)

    async def primaries(self) -> Sequence[Primary]:
        """The one."""
        return (self,)

    @asynccontextmanager
    async def session(self, timeout_seconds: float) -> AsyncIterator[Channel]:
        """The connection, which stays open afterwards."""
        yield self._channel


def _destinations(commands: Sequence[Command]) -> list[bytes]:
    return [key for command in commands if (key := destination(command)) is not None]
