"""A Redis Cluster as a `Server`: its primaries are found by asking, and again whenever that matters.

Operations need not know: their tour hands out primaries until every slot is covered, and through the
channel of any of them every key is reached.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from cacherollout.cache.connections import Connection, Endpoint
from cacherollout.cache.errors import (
    CacheError,
    GoneError,
    RefusedError,
    TopologyError,
    UnreachableError,
)
from cacherollout.cache.layouts import Address, Layout, Node, SlotMap, read_view
from cacherollout.cache.routing import ClusterChannel, Lines
from cacherollout.cache.servers import Channel, Primary, Tour, Watch
from cacherollout.cache.slots import SLOTS, spelled
from cacherollout.cache.tours import Itinerary, Share

_LOOK_SECONDS: Final = 2.0


class Cluster:
    """A cluster of which some nodes are known; all are spoken to as the first of them is.

    Needs Redis 7.0, or Valkey. Certificates must carry the name that a node announces (its address,
    where it announces none), or the `server_name` of the first of `seeds`.
    """

    def __init__(self, seeds: Sequence[Endpoint]) -> None:
        if not seeds:
            raise ValueError("seeds: needs at least one")
        if seeds[0].database:
            raise ValueError("seeds: a cluster has database 0 alone")
        self._seeds = tuple(Address(seed.host, seed.port) for seed in seeds)
        self._credentials = seeds[0]
        self._known: tuple[Node, ...] = ()
        self.slots = SlotMap()
        """Who serves which slot, as far as is known."""

    def tour(self) -> Tour:
        """Of all primaries, and again of those that were given slots meanwhile."""
        return _ClusterTour(self)

    async def primaries(self) -> Sequence[Primary]:
        """The primaries with slots, as of now; errors as in `look`."""
        layout = await self.look()
        return [ClusterPrimary(self, node) for node in layout.nodes.values() if node.slots]

    @asynccontextmanager
    async def watch(self, timeout_seconds: float) -> AsyncIterator[Watch]:
        """Connect to all primaries, those that have no slots yet included; errors as in `look`."""
        layout = await self.look(timeout_seconds=timeout_seconds)
        watched: dict[str, tuple[Address, Connection]] = {}
        try:
            for node in layout.nodes.values():
                connection = await self.connect(node.address, timeout_seconds=timeout_seconds)
                watched[node.id] = (node.address, connection)
            watch = _ClusterWatch(self, watched)
            try:
                yield watch
            finally:
                await watch.channel.close()
        finally:
            for _, connection in watched.values():
                await connection.wait_closed()

    async def look(self, *, timeout_seconds: float = _LOOK_SECONDS) -> Layout:
        """Ask every primary what it holds.

        Raises:
            UnreachableError: No known node answers, or one of the primaries does not.
            ClusterDownError: Slots are served by nobody.
            TopologyError: What answers is not part of a cluster.

        """
        view = await self.view(timeout_seconds=timeout_seconds)
        looks = (self._ask(node, timeout_seconds) for node in view if node.is_primary)
        selves = await asyncio.gather(*looks)
        layout = Layout(node for node in selves if node.is_primary)
        self.slots.learn(selves)
        return layout

    async def view(self, *, timeout_seconds: float) -> tuple[Node, ...]:
        """All nodes, as the first one that answers knows them."""
        failure: CacheError | None = None
        for address in dict.fromkeys(
            (*(node.address for node in self._known if node.is_primary), *self._seeds)
        ):
            try:
                connection = await self._open(address, "", timeout_seconds)
            except (UnreachableError, RefusedError) as error:
                failure = failure or error
                continue
            try:
                self._known = await view_of(connection, address)
            except UnreachableError as error:
                failure = failure or error
                continue
            finally:
                await connection.wait_closed()
            self.slots.learn(self._known)
            return self._known
        assert failure is not None  # noqa: S101  # there is at least one seed
        raise failure

    async def connect(self, address: Address, *, timeout_seconds: float) -> Connection:
        """Connect to a node of the cluster; errors as in `Connection.connect`."""
        node = next((node for node in self._known if node.address == address), None)
        try:
            return await self._open(address, node.hostname if node else "", timeout_seconds)
        except UnreachableError as error:
            slots = self.slots.of(address)
            if not slots:
                raise
            raise UnreachableError(
                f"{error} (a primary of the cluster, with slots {spelled(slots)}; no replica has taken "
                "over from it so far)"
            ) from error

    async def _open(self, address: Address, hostname: str, timeout_seconds: float) -> Connection:
        endpoint = replace(
            self._credentials,
            host=address.host,
            port=address.port,
            server_name=self._credentials.server_name or hostname or None,
        )
        connection = await Connection.connect(endpoint, timeout_seconds=timeout_seconds)
        if not connection.is_to_cluster:
            await connection.wait_closed()
            raise TopologyError(f"{address}: is not part of a cluster, but a server of its own")
        return connection

    async def _ask(self, node: Node, timeout_seconds: float) -> Node:
        connection = await self.connect(node.address, timeout_seconds=timeout_seconds)
        try:
            return myself(await view_of(connection, node.address))
        finally:
            await connection.wait_closed()


async def view_of(connection: Connection, address: Address) -> tuple[Node, ...]:
    """All nodes, as this one knows them."""
    return read_view(await connection.call(b"CLUSTER", b"NODES"), address)


def myself(view: Sequence[Node]) -> Node:
    """The node that was asked."""
    return next(node for node in view if node.is_myself)


@dataclass(eq=False)
class ClusterPrimary:
    """One primary of a cluster, perhaps for some of its slots only.

    Attributes:
        cluster: The cluster.
        node: The primary, as of when it was looked at.
        share: What it is to be walked for; None for all that it holds.
        is_gone: Whether it turned out to hold nothing of that any more.

    """

    cluster: Cluster
    node: Node
    share: Share | None = None
    is_gone: bool = field(default=False, init=False)

    @asynccontextmanager
    async def session(self, timeout_seconds: float) -> AsyncIterator[Channel]:
        """Lend a channel that shows this primary's keys, and reaches all keys.

        Raises:
            GoneError: It is no primary any more, or has none of the slots.
            UnreachableError: It does not answer, and nobody has taken over from it.

        """
        lines = Lines(partial(self.cluster.connect, timeout_seconds=timeout_seconds))
        try:
            async with self.over(lines, timeout_seconds) as channel:
                yield channel
        finally:
            await lines.close()

    @asynccontextmanager
    async def over(self, lines: Lines, timeout_seconds: float) -> AsyncIterator[Channel]:
        """The same over `lines`, which stay open."""
        view = await self._view(lines, timeout_seconds)
        self._check(view)
        self.cluster.slots.learn(view)
        channel = ClusterChannel(self.node.address, lines, self.cluster.slots, only=self._only())
        try:
            yield channel
        finally:
            await channel.close()

    async def _view(self, lines: Lines, timeout_seconds: float) -> tuple[Node, ...]:
        """What it says, or what the others say where it does not answer."""
        try:
            return await view_of(await lines.to(self.node.address), self.node.address)
        except UnreachableError as error:
            self._check(await self.cluster.view(timeout_seconds=timeout_seconds))
            raise error from None

    def _check(self, view: Sequence[Node]) -> None:
        me = next((node for node in view if node.id == self.node.id), None)
        wanted = self.share.slots if self.share else self.node.slots
        if me is None or not me.is_primary or not wanted & (me.slots | me.arriving.keys()):
            self.is_gone = True
            raise GoneError(
                f"{self.node.address}: serves none of the slots {spelled(sorted(wanted))} any more"
            )

    def _only(self) -> frozenset[int] | None:
        if self.share is None or self.share.slots >= self.node.slots | self.node.arriving.keys():
            return None
        return self.share.slots


class _ClusterWatch:
    is_clustered = True

    def __init__(self, cluster: Cluster, watched: Mapping[str, tuple[Address, Connection]]) -> None:
        """`watched` are the primaries by their ids."""
        self._watched = watched
        self._lines = Lines(_refuse, dict(watched.values()))
        self.connections = [connection for _, connection in watched.values()]
        home, _ = next(iter(watched.values()))
        self.channel = ClusterChannel(home, self._lines, cluster.slots)

    def session(
        self, primary: Primary, timeout_seconds: float
    ) -> AbstractAsyncContextManager[Channel]:
        assert isinstance(primary, ClusterPrimary)  # noqa: S101  # the cluster's tour made it
        return primary.over(self._lines, timeout_seconds)

    async def check(self) -> None:
        for address, connection in self._watched.values():
            for node in await view_of(connection, address):
                if node.is_primary and node.id not in self._watched:
                    raise UnreachableError(f"{node.address}: is a primary now, and was not watched")


async def _refuse(address: Address) -> Connection:
    raise UnreachableError(f"{address}: serves slots now, and was not watched")


class _ClusterTour:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._itinerary = Itinerary()
        self._last: tuple[ClusterPrimary, Share, Layout] | None = None
        self.unseen = 1.0

    async def next(self) -> Primary | None:
        layout = await self._cluster.look()
        if self._last is not None:
            primary, share, before = self._last
            if not primary.is_gone:
                self._itinerary.walked(share, before, layout)
            self._last = None
        following = self._itinerary.next(layout)
        if following is None:
            return None
        primary = ClusterPrimary(self._cluster, layout.nodes[following.node], following)
        self._last = (primary, following, layout)
        self.unseen = self._itinerary.missing_without(following) / SLOTS
        return primary
