"""How far an operation is: a value anyone may read at any time."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of an operation.

    Attributes:
        done: Keys handled so far.
        total: Keys there are to handle: counted beforehand from a sample where the operation adds
            keys, else extrapolated from the share of the keyspace seen; exact once finished; None
            before the first page.
        bytes: Bytes written on the server so far, estimated; 0 where nothing is written.
        keys_per_second: Mean rate since the start.
        eta_seconds: Time left at the pace so far; None before the first page.
        is_finished: Whether the operation ran to its end.
        families: Keys handled by family name.

    """

    done: int = 0
    total: int | None = None
    bytes: int = 0
    keys_per_second: float = 0.0
    eta_seconds: float | None = None
    is_finished: bool = False
    families: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(slots=True)
class Meter:
    """What a walk counts about itself; `snapshot` makes a `Progress` of it."""

    keyspace: int = 0
    examined: int = 0
    bytes: int = 0
    is_finished: bool = False
    unseen: float = 0.0
    """The share of the keys that lies on primaries not walked over yet, 0 to 1."""
    expected: int | None = None
    """Keys to handle, where known: a walk that adds keys meets them, and its share misleads."""
    families: Counter[str] = field(default_factory=Counter)

    def snapshot(self, elapsed_seconds: float) -> Progress:
        """Describe the state after `elapsed_seconds` of work."""
        done = self.families.total()
        share = min(1.0, self.examined / self.keyspace) if self.keyspace else 0.0
        share *= 1 - self.unseen
        if self.expected and share:
            share = min(1.0, done / self.expected)
        if self.is_finished:
            share = 1.0
        total = round(done / share) if share else self.expected
        return Progress(
            done=done,
            total=None if total is None else max(done, total),
            bytes=self.bytes,
            keys_per_second=done / elapsed_seconds if elapsed_seconds > 0 else 0.0,
            eta_seconds=elapsed_seconds * (1 - share) / share if share else None,
            is_finished=self.is_finished,
            families=MappingProxyType(dict(self.families)),
        )
