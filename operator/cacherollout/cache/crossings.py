"""Commands whose keys lie on several primaries, said again in commands that name one key each.

What one server does at once happens in steps here, and other clients may come in between: a value
copied across primaries is one that its source held a moment before. Nothing is ever written over a
key that is there unless the command said so. Pure.
"""

from typing import Final

from cacherollout.cache.connections import Command, Reply
from cacherollout.cache.errors import OutOfMemoryError, TakenError
from cacherollout.cache.lockstep import Conversation

_ABSENT: Final = -2
"""What PEXPIRETIME replies for a key that is not there."""
_CROSSABLE: Final = frozenset({b"COPY", b"EXISTS", b"UNLINK"})


def is_crossable(command: Command) -> bool:
    """Whether there is a way to say it of keys on several primaries."""
    return command[0] in _CROSSABLE


def crossing(command: Command) -> Conversation[Reply]:
    """Hold `command` as a conversation about single keys; its outcome is the command's reply.

    Raises:
        ValueError: There is no such way to say it.

    """
    match command:
        case (b"COPY", source, target, *options):
            return _copy((b"PEXPIRETIME", source), (b"DUMP", source), target, tuple(options))
        case (b"EXISTS" | b"UNLINK", *keys):
            return _count([(command[0], key) for key in keys])
        case _:
            raise ValueError(f"{command[0]!r}: cannot be said of keys on several primaries")


def _copy(
    expiry_of: Command, value_of: Command, target: bytes | str | int, options: Command
) -> Conversation[Reply]:
    # The expiry first: read after the value, it could be a newer value's, and outlive it.
    expires_at_ms, value = yield [expiry_of, value_of]
    if value is None or expires_at_ms == _ABSENT:
        return 0
    (done,) = yield [(b"RESTORE", target, max(0, expires_at_ms), value, b"ABSTTL", *options)]
    if isinstance(done, OutOfMemoryError):
        return done
    return int(not isinstance(done, TakenError))


def _count(commands: list[Command]) -> Conversation[Reply]:
    counts = yield commands
    return sum(counts)
