"""One channel to a whole cluster: every command finds the primary that holds its keys.

Commands go out in pages, one to each primary concerned. Redirections are followed: MOVED for good,
ASK for once. What names keys on several primaries, by their slots or because a slot is on the move
(TRYAGAIN), is said again key by key; see `crossings`. Commands without a key go to the one primary
that the channel was made for. A transaction goes where its keys are; where these are on the move it is
not run, and an error stands in place of EXEC's reply.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from cacherollout.cache.connections import IN_PLACE, Command, Connection, Page, Reply
from cacherollout.cache.crossings import crossing, is_crossable
from cacherollout.cache.errors import AskError, MovedError, NotReadyError, ServerError, SplitError
from cacherollout.cache.layouts import Address, SlotMap, redirection
from cacherollout.cache.lockstep import hold, in_step
from cacherollout.cache.servers import Channel
from cacherollout.cache.slots import keys_of, slot_of

_MAX_HOPS: Final = 5
_CROSS_FIRST: Final = 4
_CROSS_BYTES: Final = 8 * 1024 * 1024
_GROWTH: Final = 4
_SPLIT: Final = SplitError("keys in several slots")
_REDIRECTED: Final = (MovedError, SplitError)


class Lines:
    """Connections to a cluster's nodes, opened when first needed and closed together."""

    def __init__(
        self,
        connect: Callable[[Address], Awaitable[Connection]],
        opened: Mapping[Address, Connection] | None = None,
    ) -> None:
        """`opened` are those that there are already."""
        self._connect = connect
        self._lock = asyncio.Lock()
        self.opened = dict(opened or {})

    async def to(self, address: Address) -> Connection:
        """The connection to the node there; errors as in `Connection.connect`."""
        async with self._lock:
            if address not in self.opened:
                self.opened[address] = await self._connect(address)
        return self.opened[address]

    async def close(self) -> None:
        """Close them all, and wait until that is so."""
        for connection in self.opened.values():
            await connection.wait_closed()


class ClusterChannel:
    """A `Channel` through which every key of a cluster is reached. Close it with `close`.

    `only` are the slots whose keys SCAN shows; None for all.
    """

    def __init__(
        self, home: Address, lines: Lines, slots: SlotMap, *, only: Collection[int] | None = None
    ) -> None:
        self._home = home
        self._lines = lines
        self._slots = slots
        self._only = only
        self._tasks: set[asyncio.Task[list[Reply]]] = set()
        self._cross_at_once = _CROSS_FIRST

    def submit(self, commands: Sequence[Command]) -> Page:
        """Send a page of commands on its way. Those that cross primaries end in any order."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._answer(commands))
        page = Page(task, len(commands), loop.time())
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._complete(page, task))
        return page

    def _complete(self, page: Page, task: "asyncio.Task[list[Reply]]") -> None:
        page.elapsed_seconds = asyncio.get_running_loop().time() - page.sent_at
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a page that nobody awaits any more is not worth asyncio's warning

    async def finish(self, page: Page) -> list[Reply]:
        """Wait for a page's replies; errors as in `Connection.finish`."""
        return await asyncio.shield(page.future)

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Write a page and wait for its replies."""
        return await self.finish(self.submit(commands))

    def peers(self) -> Sequence[Channel]:
        """The connections to all primaries that were needed so far."""
        return tuple(self._lines.opened.values())

    async def close(self) -> None:
        """End what is on its way; the connections stay, and are their owner's to close."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, commands: Sequence[Command]) -> list[Reply]:
        replies = await self._deliver(commands)
        for indexes in self._portions(_apart(commands, replies)):
            conversation = in_step([crossing(commands[index]) for index in indexes])
            outcomes = await hold(conversation, self._weighed(len(indexes)))
            for index, outcome in zip(indexes, outcomes, strict=True):
                replies[index] = outcome
        if self._only is not None:
            for command, reply in zip(commands, replies, strict=True):
                if command[0] == b"SCAN":
                    reply[1] = [key for key in reply[1] if slot_of(key) in self._only]
        return replies

    def _portions(self, indexes: Sequence[int]) -> Iterator[Sequence[int]]:
        """As many at once as hold about `_CROSS_BYTES` of values, going by those before."""
        start = 0
        while start < len(indexes):
            end = start + self._cross_at_once
            yield indexes[start:end]
            start = end

    def _weighed(self, count: int) -> Callable[[Sequence[Command]], Awaitable[list[Reply]]]:
        async def send(commands: Sequence[Command]) -> list[Reply]:
            replies = await self._deliver(commands)
            weight = sum(
                len(reply)
                for command, reply in zip(commands, replies, strict=True)
                if command[0] == b"DUMP" and reply is not None
            )
            if weight:
                fitting = count * _CROSS_BYTES // weight
                self._cross_at_once = max(1, min(fitting, _GROWTH * max(count, _CROSS_FIRST)))
            return replies

        return send

    async def _deliver(self, commands: Sequence[Command]) -> list[Reply]:
        """Each command's reply from whoever holds its keys; `SplitError` where no one node does."""
        places = [self._place(command) for command in commands]
        for transaction in _transactions(commands):
            inner = {places[index] for index in transaction[1:-1]}
            place = inner.pop() if len(inner) == 1 else None
            for index in transaction:
                places[index] = place
        replies, is_final = await self._send(commands, places)
        hops = 0
        while not is_final:
            hops += 1
            if hops > _MAX_HOPS:
                raise NotReadyError(
                    "the cluster sends commands from node to node without end: its nodes disagree on "
                    "who serves a slot; see CLUSTER NODES on each, and redis-cli --cluster check"
                )
            is_final = await self._follow(commands, places, replies)
        return replies

    def _place(self, command: Command) -> Address | None:
        """The primary for a command; None if its keys lie in several slots."""
        keys = keys_of(command)
        if not keys:
            return self._home
        slot = slot_of(keys[0])
        for key in keys[1:]:
            if slot_of(key) != slot:
                return None
        return self._slots.place(slot)

    async def _send(
        self, commands: Sequence[Command], places: Sequence[Address | None]
    ) -> tuple[list[Reply], bool]:
        """The replies, and whether none of them sends us elsewhere."""
        if len(set(places)) == 1 and places[0] is not None:  # nearly all pages of tagged keys
            connection = await self._lines.to(places[0])
            page = connection.submit(commands)
            is_final = await _finish(places[0], connection, page)
            return page.replies, is_final
        replies: list[Reply] = [_SPLIT] * len(commands)
        by_place: dict[Address, list[int]] = {}
        for index, place in enumerate(places):
            if place is not None:
                by_place.setdefault(place, []).append(index)
        sent = []
        for place, indexes in by_place.items():
            connection = await self._lines.to(place)
            page = connection.submit([commands[index] for index in indexes])
            sent.append((place, connection, page, indexes))
        is_final = True
        for place, connection, page, indexes in sent:
            is_final &= await _finish(place, connection, page)
            for index, reply in zip(indexes, page.replies, strict=True):
                replies[index] = reply
        return replies, is_final

    async def _follow(
        self,
        commands: Sequence[Command],
        places: list[Address | None],
        replies: list[Reply],
    ) -> bool:
        """Send what was redirected to where it belongs; whether that was the last time."""
        bound = _bound(commands)
        moved: list[int] = []
        asked: list[int] = []
        for index, reply in enumerate(replies):
            if isinstance(reply, MovedError):
                slot, place = redirection(reply)
                there = places[index]
                assert there is not None  # noqa: S101  # somebody there said so
                place = place if place.host else Address(there.host, place.port)
                if not isinstance(reply, AskError):
                    self._slots.move(slot, place)
                if index not in bound:
                    places[index] = place
                    (asked if isinstance(reply, AskError) else moved).append(index)
        again, is_final = await self._send([commands[i] for i in moved], [places[i] for i in moved])
        once, is_last = await self._send(
            [command for i in asked for command in ((b"ASKING",), commands[i])],
            [place for i in asked for place in (places[i], places[i])],
        )
        for index, reply in zip([*moved, *asked], [*again, *once[1::2]], strict=True):
            replies[index] = reply
        return is_final and is_last


def _apart(commands: Sequence[Command], replies: Sequence[Reply]) -> list[int]:
    """The places of commands that no one node could run, and that can be said in another way."""
    found = [index for index, reply in enumerate(replies) if isinstance(reply, SplitError)]
    bound = _bound(commands) if found else frozenset()
    return [index for index in found if index not in bound and is_crossable(commands[index])]


def _transactions(commands: Sequence[Command]) -> Iterator[range]:
    """The places of each MULTI, what follows it, and its EXEC."""
    begin = -1
    for index, command in enumerate(commands):
        if command[0] == b"MULTI":
            begin = index
        elif command[0] == b"EXEC":
            yield range(begin, index + 1)


def _bound(commands: Sequence[Command]) -> frozenset[int]:
    """The places of commands that stand or fall with a transaction."""
    return frozenset(index for each in _transactions(commands) for index in each)


async def _finish(place: Address, connection: Connection, page: Page) -> bool:
    """Wait for a page; whether no reply redirects. Raises what concerns more than a redirection."""
    try:
        await connection.finish(page)
    except _REDIRECTED:
        for reply in page.replies:
            if isinstance(reply, ServerError) and not isinstance(reply, (*IN_PLACE, *_REDIRECTED)):
                raise type(reply)(f"{place}: {reply}") from None
        return not any(isinstance(reply, MovedError) for reply in page.replies)
    return True
