"""Where a walk's keys come from: out of SCAN, out of SCAN from a random place, or out of a list. Pure."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cacherollout.cache.connections import Command, Reply

START: Final = b"0"
"""The cursor of the first page, and the one that follows the last."""


class Feed(Protocol):
    """Where the keys come from: a resumable sequence of pages."""

    def ask(self, cursor: bytes, count: int) -> Sequence[Command]:
        """The command that fetches the page at `cursor`, or none."""
        ...

    def take(self, cursor: bytes, count: int, replies: list[Reply]) -> tuple[bytes, list[bytes]]:
        """The next cursor (``b"0"`` at the end) and this page's keys."""
        ...


@dataclass(frozen=True, slots=True)
class ScanFeed:
    """All keys of a server that match a pattern, in the server's order, perhaps some twice."""

    pattern: bytes

    def ask(self, cursor: bytes, count: int) -> Sequence[Command]:
        """One SCAN."""
        return [(b"SCAN", cursor, b"MATCH", self.pattern, b"COUNT", count)]

    def take(self, cursor: bytes, count: int, replies: list[Reply]) -> tuple[bytes, list[bytes]]:
        """What SCAN replied."""
        following, keys = replies[0]
        return following, keys


@dataclass(frozen=True, slots=True)
class ListFeed:
    """Keys known beforehand."""

    keys: Sequence[bytes]

    def ask(self, cursor: bytes, count: int) -> Sequence[Command]:
        """Nothing to ask."""
        return ()

    def take(self, cursor: bytes, count: int, replies: list[Reply]) -> tuple[bytes, list[bytes]]:
        """The next slice."""
        start = int(cursor)
        end = start + count
        following = b"%d" % end if end < len(self.keys) else START
        return following, list(self.keys[start:end])


@dataclass(frozen=True, slots=True)
class SampleFeed:
    """Like `ScanFeed`, but from a random place and around once, so that samples differ.

    Keys between that place and the end come twice if nobody stops before.
    """

    pattern: bytes
    start: int = field(default_factory=lambda: secrets.randbits(32))

    def ask(self, cursor: bytes, count: int) -> Sequence[Command]:
        """One SCAN; our cursor is the server's, with the round in front."""
        at = b"%d" % self.start if cursor == START else cursor[1:]
        return [(b"SCAN", at, b"MATCH", self.pattern, b"COUNT", count)]

    def take(self, cursor: bytes, count: int, replies: list[Reply]) -> tuple[bytes, list[bytes]]:
        """What SCAN replied; at the keyspace's end begin the second round."""
        following, keys = replies[0]
        is_first_round = cursor == START or cursor[:1] == b"1"
        if following != START:
            return (b"1" if is_first_round else b"2") + following, keys
        return (b"20" if is_first_round else START), keys
