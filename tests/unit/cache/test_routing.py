"""A cluster's channel: where commands go, how redirections are followed, how much is held at once."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cacherollout.cache.connections import IN_PLACE, Command, Page, Reply
from cacherollout.cache.errors import (
    AbortedError,
    AskError,
    CommandError,
    MovedError,
    NotReadyError,
    ServerError,
    SplitError,
    WrongTypeError,
    from_reply,
)
from cacherollout.cache.layouts import Address, Node, SlotMap
from cacherollout.cache.routing import ClusterChannel, Lines
from cacherollout.cache.slots import SLOTS, slot_of

A, B = Address("a", 1), Address("b", 2)
HALF = SLOTS // 2
KEY_A, KEY_B = b"foo{bar}", b"foo"
"""Of the lower half of the slots, and of the upper."""

Answer = Callable[[Command], Reply]


class FakeNode:
    """Answers as told, and notes what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[Command] = []
        self.pages = 0

    def submit(self, commands: Sequence[Command]) -> Page:
        self.asked += commands
        self.pages += 1
        page = Page(asyncio.get_running_loop().create_future(), len(commands), 0.0)
        page.replies = [self._answer(command) for command in commands]
        bad = next(
            (r for r in page.replies if isinstance(r, ServerError) and not isinstance(r, IN_PLACE)),
            None,
        )
        if bad is None:
            page.future.set_result(page.replies)
        else:
            page.future.set_exception(bad)
            page.future.exception()
        return page

    async def finish(self, page: Page) -> list[Reply]:
        return await page.future


def channel_over(a: Answer, b: Answer, **options: Any) -> tuple[ClusterChannel, FakeNode, FakeNode]:
    nodes = {A: FakeNode(a), B: FakeNode(b)}

    async def connect(address: Address) -> Any:
        return nodes[address]

    slots = SlotMap()
    slots.learn(
        [
            Node("a", A, slots=frozenset(range(HALF))),
            Node("b", B, slots=frozenset(range(HALF, SLOTS))),
        ]
    )
    return ClusterChannel(A, Lines(connect), slots, **options), nodes[A], nodes[B]


def test_the_keys_lie_where_these_tests_think() -> None:
    assert slot_of(KEY_A) < HALF <= slot_of(KEY_B)


async def test_commands_go_to_their_keys_and_replies_keep_their_order() -> None:
    channel, a, b = channel_over(lambda c: (b"a", c[0]), lambda c: (b"b", c[0]))
    commands: list[Command] = [(b"GET", KEY_B), (b"INFO",), (b"GET", KEY_A), (b"PTTL", KEY_B)]
    replies = await channel.pipeline(commands)
    assert replies == [(b"b", b"GET"), (b"a", b"INFO"), (b"a", b"GET"), (b"b", b"PTTL")]
    assert (a.pages, b.pages) == (1, 1), "one page a primary"
    assert len(channel.peers()) == 2


async def test_moved_is_followed_and_remembered() -> None:
    moved = MovedError(f"MOVED {slot_of(KEY_A)} b:2")
    channel, a, b = channel_over(lambda c: moved if c == (b"GET", KEY_A) else b"a", lambda _: b"b")
    assert await channel.pipeline([(b"INFO",), (b"GET", KEY_A)]) == [b"a", b"b"]
    assert await channel.pipeline([(b"GET", KEY_A)]) == [b"b"]
    assert Counter(a.asked)[b"GET", KEY_A] == 1
    assert len(b.asked) == 2


async def test_ask_is_followed_once() -> None:
    asked = AskError(f"ASK {slot_of(KEY_A)} b:2")
    channel, _, b = channel_over(lambda _: asked, lambda c: b"OK" if c == (b"ASKING",) else b"b")
    assert await channel.pipeline([(b"GET", KEY_A), (b"PTTL", KEY_A)]) == [b"b", b"b"]
    assert b.asked == [(b"ASKING",), (b"GET", KEY_A), (b"ASKING",), (b"PTTL", KEY_A)]
    await channel.pipeline([(b"GET", KEY_A)])
    assert len(b.asked) == 6, "and asked for anew the next time"


async def test_nodes_that_disagree_are_not_followed_for_ever() -> None:
    to_b, to_a = (MovedError(f"MOVED {slot_of(KEY_A)} {place}") for place in ("b:2", "a:1"))
    channel, a, _ = channel_over(lambda _: to_b, lambda _: to_a)
    with pytest.raises(NotReadyError, match="disagree"):
        await channel.pipeline([(b"GET", KEY_A)])
    assert len(a.asked) < 10


async def test_an_error_counts_more_than_a_redirection() -> None:
    moved = MovedError(f"MOVED {slot_of(KEY_A)} b:2")
    bad = CommandError("ERR no")
    channel, _, _ = channel_over(lambda c: moved if c[0] == b"GET" else bad, lambda _: b"b")
    with pytest.raises(CommandError, match="a:1: ERR no"):
        await channel.pipeline([(b"GET", KEY_A), (b"PTTL", KEY_A)])
    channel, _, _ = channel_over(
        lambda c: moved if c[0] == b"GET" else WrongTypeError("WRONGTYPE"), lambda _: b"b"
    )
    value, wrong = await channel.pipeline([(b"GET", KEY_A), (b"STRLEN", KEY_A)])
    assert value == b"b"
    assert isinstance(wrong, WrongTypeError)


async def test_keys_of_a_slot_on_the_move_are_dealt_with_one_by_one() -> None:
    def answer(command: Command) -> Reply:
        return SplitError("TRYAGAIN") if len(command) > 2 else 1

    channel, a, _ = channel_over(answer, answer)
    assert await channel.pipeline([(b"UNLINK", KEY_A, KEY_A)]) == [2]
    assert a.asked[1:] == [(b"UNLINK", KEY_A), (b"UNLINK", KEY_A)]


async def test_large_values_cross_a_few_at_a_time() -> None:
    waiting = Counter[str]()
    most = 0

    def source(command: Command) -> Reply:
        nonlocal most
        if command[0] == b"DUMP":
            waiting["bytes"] += 1
            most = max(most, waiting["bytes"])
            return b"x" * 1024 * 1024
        return -1

    def target(command: Command) -> Reply:
        waiting["bytes"] -= 1
        return b"OK"

    channel, _, _ = channel_over(source, target)
    copies: list[Command] = [(b"COPY", KEY_A, KEY_B)] * 200
    assert await channel.pipeline(copies) == [1] * 200
    most = 0
    assert await channel.pipeline(copies) == [1] * 200
    assert 4 <= most <= 8, "about 8 MiB at once, once it is known how large they are"


async def test_scan_shows_the_slots_that_it_was_asked_for() -> None:
    channel, _, _ = channel_over(
        lambda _: [b"0", [KEY_A, KEY_B]], lambda _: None, only={slot_of(KEY_B)}
    )
    assert await channel.pipeline([(b"SCAN", b"0")]) == [[b"0", [KEY_B]]]


UNIT: list[Command] = [(b"MULTI",), (b"GET", KEY_B), (b"UNLINK", KEY_B), (b"EXEC",)]


async def test_a_transaction_goes_where_its_keys_are() -> None:
    channel, a, b = channel_over(lambda _: b"a", lambda _: b"b")
    assert await channel.pipeline([(b"GET", KEY_A), *UNIT, (b"PTTL", KEY_A)]) == [
        b"a",
        *[b"b"] * 4,
        b"a",
    ]
    assert b.asked == UNIT
    assert a.asked == [(b"GET", KEY_A), (b"PTTL", KEY_A)]


@pytest.mark.parametrize("redirection", ["MOVED {} a:1", "ASK {} a:1", "TRYAGAIN"])
async def test_a_transaction_is_run_as_a_whole_or_not_at_all(redirection: str) -> None:
    refused = from_reply(redirection.format(slot_of(KEY_B)))

    def answer(command: Command) -> Reply:
        if command == (b"EXEC",):
            return AbortedError("EXECABORT")
        return b"OK" if command == (b"MULTI",) else refused

    channel, a, _ = channel_over(lambda _: b"a", answer)
    *_, done = await channel.pipeline(UNIT)
    assert isinstance(done, AbortedError)
    assert not a.asked, "nothing of it was sent on"
    if redirection.startswith("MOVED"):
        await channel.pipeline(UNIT)
        assert a.asked == UNIT, "but the next one finds its way"


async def test_a_transaction_across_primaries_is_not_sent() -> None:
    channel, a, b = channel_over(lambda _: b"a", lambda _: b"b")
    commands: list[Command] = [(b"MULTI",), (b"GET", KEY_A), (b"GET", KEY_B), (b"EXEC",)]
    *_, done = await channel.pipeline(commands)
    assert isinstance(done, SplitError)
    assert [a.asked, b.asked] == [[], []]
