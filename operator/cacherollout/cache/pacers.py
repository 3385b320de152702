"""How long to pause after a page, and how large the next one may be.

Other clients wait for at most one page, so page size bounds what they feel, and the share of time
spent on pages (duty cycle) bounds what the server gives. Both follow the server's own reply time: a
page that takes over twice what it should halves the next ones, each good one adds a key.
Pure arithmetic; the caller sleeps.
"""

from typing import Final

from cacherollout.cache.limits import Limits

_CREDIT_SECONDS: Final = 0.005
"""How much lateness is made up for: timers wake late, and the average rate must still hold."""
_SCAN_WEIGHT: Final = 0.25
"""Looking at a key costs a server about a quarter of copying or removing it (0.7 of 2.8 µs)."""
_FORGETTING: Final = 1.002
"""How fast the best time a key took is forgotten, a page: half-life 350 pages."""


class Pacer:
    """Keeps one walk within its `Limits`. O(1) a page."""

    def __init__(self, limits: Limits, *, idle_seconds: float) -> None:
        """`idle_seconds` is a round trip that does nothing: the network's share of a reply time."""
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._best_seconds = float("inf")
        self._due_at = float("inf")
        self.page_keys = limits.page_keys
        """How many keys the next page may look at."""

    def pause_seconds(self, *, now: float, elapsed_seconds: float, keys: int) -> float:
        """How long to wait after a page of `keys` that took `elapsed_seconds`, at time `now`."""
        limits = self._limits
        if not limits.is_throttled:
            return 0.0
        busy = max(elapsed_seconds - self._idle_seconds, elapsed_seconds / 10)
        self._adapt(busy, keys)
        wait = busy * (100 / limits.duty_cycle_percent - 1)
        if limits.keys_per_second is not None:
            wait = max(wait, keys / limits.keys_per_second - elapsed_seconds)
        late = now - elapsed_seconds - self._due_at
        self._due_at = now + wait - min(max(late, 0.0), _CREDIT_SECONDS)
        return max(0.0, self._due_at - now)

    def _adapt(self, busy_seconds: float, keys: int) -> None:
        work = keys + self.page_keys * _SCAN_WEIGHT
        seconds = busy_seconds / work
        self._best_seconds = min(self._best_seconds * _FORGETTING, seconds)
        if seconds > 2 * self._best_seconds + self._idle_seconds / work:
            self.page_keys = max(self._limits.min_page_keys, self.page_keys // 2)
        else:
            self.page_keys = min(self._limits.page_keys, self.page_keys + 1)
