"""Many small conversations with a server held at once, a page for each step of all of them.

A conversation is a generator: commands out, replies in, its outcome at the end. It is pure, so it is
tested without a server, and knows nothing of the others beside it.
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TypeVar

from cacherollout.cache.connections import Command, Reply

T = TypeVar("T")
Conversation = Generator[Sequence[Command], list[Reply], T]


def in_step(conversations: Sequence[Conversation[T]]) -> Conversation[list[T]]:
    """Hold all of them: all first steps in one page, then all second steps, and so on.

    Each must have something to say. The outcomes come in the order of the conversations.
    """
    outcomes: dict[int, T] = {}
    running = [(index, each, next(each)) for index, each in enumerate(conversations)]
    while running:
        replies = yield [command for _, _, commands in running for command in commands]
        still: list[tuple[int, Conversation[T], Sequence[Command]]] = []
        at = 0
        for index, each, commands in running:
            try:
                still.append((index, each, each.send(replies[at : at + len(commands)])))
            except StopIteration as end:
                outcomes[index] = end.value
            at += len(commands)
        running = still
    return [outcomes[index] for index in range(len(conversations))]


async def hold(
    conversation: Conversation[T],
    send: Callable[[Sequence[Command]], Awaitable[list[Reply]]],
) -> T:
    """Hold a conversation over `send`, which takes commands and returns their replies."""
    try:
        commands = next(conversation)
        while True:
            commands = conversation.send(await send(commands))
    except StopIteration as end:
        outcome: T = end.value
        return outcome
