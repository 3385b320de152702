"""One connection to one Redis server: RESP3 over asyncio, as thin as it can be.

Requests are *pages* of commands, written in one piece and answered in one piece, and any number of
pages may be in flight; this is what reaches the server's own speed from Python. Encoding and
decoding are hiredis'. Push messages never mix with replies. A page that is awaited no longer
(cancelled) still consumes its replies, so cancelling never confuses the connection; a page that is
not answered in time closes it.

Must not know: keys, versions, retries.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, cast

import hiredis

from cacherollout.cache.errors import (
    AbortedError,
    CommandError,
    OutOfMemoryError,
    RefusedError,
    ServerError,
    TakenError,
    UnansweredError,
    UnreachableError,
    WrongTypeError,
    from_reply,
)

Argument = bytes | str | int
Command = tuple[Argument, ...]
Reply = Any
"""Whatever RESP3 carries: bytes, int, float, bool, None, list, dict, or an error that concerns one command."""
PushHandler = Callable[[Sequence[Any]], None]

_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)  # typed too narrowly there

_NOTHING: Final = object()
_PLAIN: Final = frozenset({int, bytes})
IN_PLACE: Final = (WrongTypeError, OutOfMemoryError, AbortedError, TakenError)
"""Errors that stand in place of one command's reply and leave the rest of its page alone."""
_CLIENT_NAME: Final = b"cacherollout"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens and how to introduce oneself.

    Attributes:
        host: Name or address.
        port: TCP port.
        database: Logical database; must be 0 in a cluster.
        username: The ACL user.
        password: Its password; None to connect without authenticating. Never shown.
        tls: How to verify the server; None for plain TCP.
        server_name: Name that its certificate must carry; None for `host`.

    """

    host: str
    port: int = 6379
    database: int = 0
    username: str = "default"
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    server_name: str | None = None

    def __str__(self) -> str:
        """Show the address alone."""
        return f"{self.host}:{self.port}"


class Page:
    """Commands on their way: their replies, and how long the server took for them."""

    __slots__ = ("elapsed_seconds", "error", "future", "missing", "replies", "sent_at")

    def __init__(self, future: "asyncio.Future[list[Reply]]", count: int, sent_at: float) -> None:
        self.future = future
        self.missing = count
        self.replies: list[Reply] = []
        self.error: ServerError | None = None
        self.sent_at = sent_at
        self.elapsed_seconds = 0.0
        """From writing the page to receiving its last reply; 0 before that."""


class Connection(asyncio.Protocol):
    """An open, authenticated connection. Make one with `connect`."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=from_reply, notEnoughData=_NOTHING)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Page] = deque()
        self._failure: UnreachableError | None = None
        self.on_push: PushHandler | None = None
        """Called with every push message, in order with the replies; must not raise or block."""
        self._released = asyncio.Event()
        self.lost = asyncio.Event()
        """Set once the connection is of no more use."""
        self.is_to_cluster = False
        """Whether the server is a node of a cluster."""

    @classmethod
    async def connect(cls, endpoint: Endpoint, *, timeout_seconds: float = 2.0) -> Self:
        """Connect, authenticate, switch to RESP3 and select the database, within the timeout.

        Raises:
            UnreachableError: Nobody answers there, or not in time.
            RefusedError: Credentials or certificate are not accepted.

        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_seconds):
                _, connection = await loop.create_connection(
                    lambda: cls(endpoint, timeout_seconds),
                    endpoint.host,
                    endpoint.port,
                    ssl=endpoint.tls,
                    server_hostname=(endpoint.server_name or endpoint.host)
                    if endpoint.tls
                    else None,
                )
                try:
                    hello, *_ = await connection.pipeline(_introduction(endpoint))
                    connection.is_to_cluster = hello.get(b"mode") == b"cluster"
                except BaseException:
                    connection.close()
                    raise
        except TimeoutError as error:
            raise UnreachableError(f"{endpoint}: no answer in {timeout_seconds:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise RefusedError(f"{endpoint}: certificate: {error.verify_message}") from error
        except OSError as error:
            raise UnreachableError(
                f"{endpoint}: {error.strerror or type(error).__name__}"
            ) from error
        return connection

    def submit(self, commands: Sequence[Command]) -> Page:
        """Write a page of commands now; await it with `finish`. Never blocks.

        The caller bounds what is in flight; nothing is held back here.
        """
        page = Page(self._loop.create_future(), len(commands), self._loop.time())
        if self._failure is not None or self._transport is None:
            _raise_in(page.future, self._failure or UnreachableError("not connected"))
        elif not commands:
            page.future.set_result([])
        else:
            self._waiting.append(page)
            self._transport.write(b"".join(map(_pack, commands)))
        return page

    async def finish(self, page: Page) -> list[Reply]:
        """Wait for the replies of a page, in the order of its commands.

        A `WrongTypeError` or `OutOfMemoryError` concerns one command and stands in place of its
        reply (`IN_PLACE` has them all); any other is raised, once the whole page is answered.

        Raises:
            UnansweredError: Not answered in time; the connection is closed.
            UnreachableError: The connection was lost.
            ServerError: As the server said.

        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await asyncio.shield(page.future)
        except TimeoutError as error:
            failure = UnansweredError(f"{self._endpoint}: no reply in {self._timeout_seconds:g} s")
            self._fail(failure)
            raise failure from error

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Write a page and wait for its replies; errors as in `finish`."""
        return await self.finish(self.submit(commands))

    async def call(self, *command: Argument) -> Reply:
        """Run one command; errors as in `finish`, and raised whatever they are."""
        (reply,) = await self.pipeline([command])
        if isinstance(reply, ServerError):
            raise reply
        return reply

    def peers(self) -> Sequence[Self]:
        """All servers that a command sent here may reach: this one."""
        return (self,)

    def close(self) -> None:
        """Close at once; whoever still waits gets an `UnreachableError`."""
        self._fail(UnreachableError(f"{self._endpoint}: connection was closed"))

    async def wait_closed(self) -> None:
        """Close, and wait until the socket is released."""
        self.close()
        if self._transport is not None:
            await self._released.wait()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # create_connection's promise
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._released.set()
        reason = f": {exc.strerror}" if isinstance(exc, OSError) and exc.strerror else ""
        self._fail(UnreachableError(f"{self._endpoint}: connection was lost{reason}"))

    def data_received(self, data: bytes) -> None:
        """Hand replies to their pages, and push messages to `on_push`."""
        try:
            self._reader.feed(data)
            gets, waiting = self._reader.gets, self._waiting
            while (reply := gets()) is not _NOTHING:
                if (
                    waiting and type(reply) in _PLAIN
                ):  # nearly all of them, and this is the inner loop
                    page = waiting[0]
                    page.replies.append(reply)
                    page.missing -= 1
                    if not page.missing:
                        self._complete()
                else:
                    self._accept(reply)
        except hiredis.ProtocolError:
            self._fail(UnreachableError(f"{self._endpoint}: does not speak RESP"))

    def _accept(self, reply: Reply) -> None:
        if isinstance(reply, hiredis.PushNotification):
            if self.on_push is not None:
                self.on_push(reply)
            return
        if not self._waiting:
            self._fail(UnreachableError(f"{self._endpoint}: sent a reply nobody asked for"))
            return
        page = self._waiting[0]
        if isinstance(reply, ServerError) and not isinstance(reply, IN_PLACE):
            page.error = page.error or reply
        page.replies.append(reply)
        page.missing -= 1
        if not page.missing:
            self._complete()

    def _complete(self) -> None:
        page = self._waiting.popleft()
        page.elapsed_seconds = self._loop.time() - page.sent_at
        if page.error is None:
            page.future.set_result(page.replies)
        else:
            _raise_in(page.future, _located(page.error, self._endpoint))

    def _fail(self, failure: UnreachableError) -> None:
        if self._failure is not None:
            return
        self._failure = failure
        self.lost.set()
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            _raise_in(self._waiting.popleft().future, failure)


def _located(error: ServerError, endpoint: Endpoint) -> ServerError:
    if isinstance(error, CommandError):
        return error
    return type(error)(f"{endpoint}: {error}")


def _raise_in(future: "asyncio.Future[list[Reply]]", error: Exception) -> None:
    """Fail `future`; a page that nobody awaits any more is not worth asyncio's warning."""
    future.set_exception(error)
    future.exception()


def _introduction(endpoint: Endpoint) -> list[Command]:
    hello: Command = (b"HELLO", b"3")
    if endpoint.password is not None:
        hello += (b"AUTH", endpoint.username, endpoint.password)
    commands: list[Command] = [(*hello, b"SETNAME", _CLIENT_NAME)]
    if endpoint.database:
        commands.append((b"SELECT", endpoint.database))
    return commands
