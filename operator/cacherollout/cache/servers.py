"""Which servers hold the cache, and how an operation gets hold of one.

Operations know only `Server`, `Primary` and `Channel`. Another topology is another `Server`: one
that asks around for its primaries each time. `Mirror.server` is one as well: its
channel is the mirror's own connection, whose writes the mirror does not take for the application's.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol

from cacherollout.cache.connections import Command, Connection, Endpoint, Page, Reply
from cacherollout.cache.errors import CacheError, UnreachableError


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


class Single(ABC):
    """A deployment with one primary, wherever that may be at the moment."""

    @abstractmethod
    async def connect(self, *, timeout_seconds: float) -> Connection:
        """Connect to the primary; errors as in `Connection.connect`."""

    async def primaries(self) -> Sequence[Primary]:
        """The one primary."""
        return (self,)

    @asynccontextmanager
    async def session(self, timeout_seconds: float) -> AsyncIterator[Channel]:
        """Connect, and close at the end."""
        connection = await self.connect(timeout_seconds=timeout_seconds)
        try:
            yield connection
        finally:
            await connection.wait_closed()


class Standalone(Single):
    """One server at a fixed address (or behind a name that follows the primary)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def connect(self, *, timeout_seconds: float) -> Connection:
        """Connect to the address."""
        return await Connection.connect(self.endpoint, timeout_seconds=timeout_seconds)


class Sentinel(Single):
    """A primary that sentinels watch: they are asked for its address before every connection.

    `primary` is the name they know it by; `credentials` say how to introduce oneself to it (its
    host and port are not used). After a failover an operation meets `UnreachableError` or
    `ReadOnlyError`, waits, and connects to the new primary, where it begins again.
    """

    def __init__(
        self, sentinels: Sequence[Endpoint], *, primary: str, credentials: Endpoint
    ) -> None:
        self._sentinels = tuple(sentinels)
        self._primary = primary
        self._credentials = credentials

    async def connect(self, *, timeout_seconds: float) -> Connection:
        """Ask one sentinel after the other, and connect to the primary that it names."""
        failure: CacheError = UnreachableError("no sentinel is configured")
        for sentinel in self._sentinels:
            try:
                host, port = await self._ask(sentinel, timeout_seconds)
            except CacheError as error:
                failure = error
                continue
            endpoint = replace(self._credentials, host=host, port=port)
            return await Connection.connect(endpoint, timeout_seconds=timeout_seconds)
        raise failure

    async def _ask(self, sentinel: Endpoint, timeout_seconds: float) -> tuple[str, int]:
        connection = await Connection.connect(sentinel, timeout_seconds=timeout_seconds)
        try:
            address = await connection.call(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._primary)
        finally:
            await connection.wait_closed()
        if address is None:
            raise UnreachableError(f"{sentinel}: knows no primary named {self._primary!r}")
        return address[0].decode(), int(address[1])
