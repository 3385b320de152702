"""Which servers hold the cache, and how an operation gets hold of one.

Operations know only `Server`, `Primary` and `Channel`. A Sentinel or Cluster topology is another
`Server`: one that asks around for its primaries each time. `Mirror.server` is one as well: its
channel is the mirror's own connection, whose writes the mirror does not take for the application's.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from cacherollout.cache.connections import Command, Connection, Endpoint, Page, Reply


class Channel(Protocol):
    """What an operation needs of a connection; see `Connection` for the semantics."""

    def submit(self, commands: Sequence[Command]) -> Page:
        """Write a page of commands now."""
        ...

    async def finish(self, page: Page) -> list[Reply]:
        """Wait for a page's replies."""
        ...

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Write a page and wait for its replies."""
        ...


class Primary(Protocol):
    """One server that takes writes and holds a share of the keys."""

    def session(self, timeout_seconds: float) -> AbstractAsyncContextManager[Channel]:
        """Lend a channel; raises `UnreachableError` or `RefusedError` on entry."""
        ...


class Server(Protocol):
    """A Redis deployment, whatever its topology."""

    async def primaries(self) -> Sequence[Primary]:
        """The primaries that hold all keys between them, as of now."""
        ...


class Standalone:
    """One server at a fixed address (or behind a name that follows the primary)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def primaries(self) -> Sequence[Primary]:
        """The one server."""
        return (self,)

    @asynccontextmanager
    async def session(self, timeout_seconds: float) -> AsyncIterator[Channel]:
        """Connect, and close at the end."""
        connection = await Connection.connect(self.endpoint, timeout_seconds=timeout_seconds)
        try:
            yield connection
        finally:
            await connection.wait_closed()
