"""Which servers hold the cache, and how an operation gets hold of one.

Operations know only `Server`, `Tour`, `Primary` and `Channel`; the mirror also knows `Watch`. Another
topology is another `Server`; see `Cluster` in `clusters`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol

from cacherollout.cache.connections import Command, Connection, Endpoint, Page, Reply
from cacherollout.cache.errors import CacheError, TopologyError, UnreachableError


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

    def peers(self) -> "Sequence[Channel]":
        """One channel to each server that the commands sent here have reached; at least this."""
        ...


class Primary(Protocol):
    """One server that takes writes and holds a share of the keys."""

    def session(self, timeout_seconds: float) -> AbstractAsyncContextManager[Channel]:
        """Lend a channel; raises `UnreachableError` or `RefusedError` on entry."""
        ...


class Tour(Protocol):
    """Primaries to walk over, one after the other, until every key has been met."""

    @property
    def unseen(self) -> float:
        """Which share of the keys, about, lies on primaries not handed out so far; 0 to 1."""
        ...

    async def next(self) -> Primary | None:
        """The next one, once the last is walked; None at the end. May be called again after errors."""
        ...


class Server(Protocol):
    """A Redis deployment, whatever its topology."""

    def tour(self) -> Tour:
        """Begin to walk over all keys."""
        ...

    async def primaries(self) -> Sequence[Primary]:
        """The primaries that hold all keys between them, as of now."""
        ...


class Watch(Protocol):
    """Connections to all primaries at once, kept open for what these push."""

    @property
    def connections(self) -> Sequence[Connection]:
        """One to each primary; the watch is over once one of them is lost."""
        ...

    @property
    def channel(self) -> Channel:
        """Reaches every key over these connections."""
        ...

    @property
    def is_clustered(self) -> bool:
        """Whether two keys may lie on different primaries."""
        ...

    def session(
        self, primary: Primary, timeout_seconds: float
    ) -> AbstractAsyncContextManager[Channel]:
        """Like `primary.session`, but over these connections, which stay open."""
        ...

    async def check(self) -> None:
        """Raise `UnreachableError` if there are primaries by now that are not watched."""
        ...


class Watchable(Server, Protocol):
    """A server whose primaries can be watched."""

    def watch(self, timeout_seconds: float) -> AbstractAsyncContextManager[Watch]:
        """Connect to all primaries; errors as in `Connection.connect`."""
        ...


class Mapped:
    """A server whose primaries are seen through `wrap`."""

    def __init__(self, server: Server, wrap: Callable[[Primary], Primary]) -> None:
        self._server = server
        self._wrap = wrap

    def tour(self) -> Tour:
        """The server's tour, seen so."""
        return _MappedTour(self._server.tour(), self._wrap)

    async def primaries(self) -> Sequence[Primary]:
        """The server's primaries, seen so."""
        return [self._wrap(primary) for primary in await self._server.primaries()]


class _MappedTour:
    def __init__(self, tour: Tour, wrap: Callable[[Primary], Primary]) -> None:
        self._tour = tour
        self._wrap = wrap

    @property
    def unseen(self) -> float:
        return self._tour.unseen

    async def next(self) -> Primary | None:
        primary = await self._tour.next()
        return None if primary is None else self._wrap(primary)


class FirstOnly:
    """A tour of the first primary alone: through it, commands reach every key that they name."""

    unseen = 0.0

    def __init__(self, server: Server) -> None:
        self._server = server
        self._is_over = False

    async def next(self) -> Primary | None:
        """The first primary, then None."""
        if self._is_over:
            return None
        primary = (await self._server.primaries())[0]
        self._is_over = True
        return primary


class Single(ABC):
    """A deployment with one primary, wherever that may be at the moment."""

    @abstractmethod
    async def connect(self, *, timeout_seconds: float) -> Connection:
        """Connect to the primary; errors as in `Connection.connect`."""

    def tour(self) -> Tour:
        """Of the one primary."""
        return FirstOnly(self)

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

    @asynccontextmanager
    async def watch(self, timeout_seconds: float) -> AsyncIterator[Watch]:
        """Connect to the one primary."""
        connection = await self.connect(timeout_seconds=timeout_seconds)
        try:
            yield _OneLine(connection)
        finally:
            await connection.wait_closed()


class _OneLine:
    """A watch over a single primary."""

    is_clustered = False

    def __init__(self, connection: Connection) -> None:
        self.channel = connection
        self.connections = (connection,)

    @asynccontextmanager
    async def session(self, primary: Primary, timeout_seconds: float) -> AsyncIterator[Channel]:
        yield self.channel

    async def check(self) -> None:
        """Whoever is primary elsewhere by now, this connection tells it by its end."""


class Standalone(Single):
    """One server at a fixed address (or behind a name that follows the primary)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    async def connect(self, *, timeout_seconds: float) -> Connection:
        """Connect to the address.

        Raises (besides what `Connection.connect` raises):
            TopologyError: A node of a cluster listens there, which has a share of the keys only.

        """
        connection = await Connection.connect(self.endpoint, timeout_seconds=timeout_seconds)
        if connection.is_to_cluster:
            await connection.wait_closed()
            raise TopologyError(
                f"{self.endpoint}: is one node of a cluster, and has only its share of the keys"
            )
        return connection


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
