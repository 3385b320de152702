"""How much of a server an operation may take. Values only; `pacers` keeps to them."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one operation.

    Attributes:
        keys_per_second: A hard ceiling on keys handled a second; None for no ceiling.
        duty_cycle_percent: The share of the server's time the operation may keep busy; at 100 it
            does not pause, and keeps two pages in flight.
        page_keys: The most keys a page may hold. Other clients wait at most for one page, so this
            bounds what they feel; under congestion pages shrink to `min_page_keys`.
        min_page_keys: The fewest keys a page is cut to.
        memory_ceiling_percent: The share of `maxmemory` that copying may fill.
        timeout_seconds: How long one request may go unanswered.
        patience_seconds: How long an operation waits out a server that is away or not ready,
            without one finished page, before it raises what it met.

    """

    keys_per_second: int | None = 50_000
    duty_cycle_percent: float = 25.0
    page_keys: int = 50
    min_page_keys: int = 10
    memory_ceiling_percent: float = 85.0
    timeout_seconds: float = 2.0
    patience_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse bounds that could not be kept."""
        if not 0 < self.duty_cycle_percent <= 100:
            raise ValueError("duty_cycle_percent: must be above 0 and at most 100")
        if not 0 < self.memory_ceiling_percent <= 100:
            raise ValueError("memory_ceiling_percent: must be above 0 and at most 100")
        if not 1 <= self.min_page_keys <= self.page_keys <= 1000:
            raise ValueError("page_keys: must be 1 to 1000 and not below min_page_keys")
        if self.keys_per_second is not None and self.keys_per_second < 1:
            raise ValueError("keys_per_second: must be at least 1, or None for no ceiling")
        if self.timeout_seconds <= 0 or self.patience_seconds < 0:
            raise ValueError("timeout_seconds must be above 0, patience_seconds not below 0")

    @classmethod
    def unthrottled(cls, *, page_keys: int = 500) -> Self:
        """As fast as the server goes; other clients will feel it."""
        return cls(keys_per_second=None, duty_cycle_percent=100, page_keys=page_keys)

    @property
    def is_throttled(self) -> bool:
        """Whether the operation pauses between pages."""
        return self.duty_cycle_percent < 100 or self.keys_per_second is not None

    def seconds_for(self, keys: int, *, looked_seconds: float) -> float:
        """About how long to write `keys` within these limits, never less than their ceiling allows.

        Goes by a walk within the same limits that only looked at them, and took `looked_seconds`: to
        look at a key and to copy or remove it costs a server about the same.
        """
        least = keys / self.keys_per_second if self.keys_per_second else 0.0
        return max(least, looked_seconds)
