"""A TCP proxy before a server, to hold back what one side says, or to cut the line."""

import asyncio
import contextlib
from typing import Self

from cacherollout.cache import Endpoint


class Proxy:
    """Forwards to `port`; `replies` and `requests` let bytes through while they are set."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.replies = asyncio.Event()
        self.requests = asyncio.Event()
        self.replies.set()
        self.requests.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        self.cut()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await self._server.wait_closed()

    @property
    def endpoint(self) -> Endpoint:
        assert self._server
        return Endpoint("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Reset every open connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, here}
        for source, sink, gate in ((reader, here, self.requests), (there, writer, self.replies)):
            self._pipes.add(asyncio.create_task(self._pipe(source, sink, gate)))

    @staticmethod
    async def _pipe(
        source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await gate.wait()
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
