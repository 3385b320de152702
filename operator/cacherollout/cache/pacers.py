"""How long to pause after a page, and how large the next one may be.

Other clients wait for at most one page, so page size bounds what they feel, and the share of time
spent on pages (duty cycle) bounds what the server gives. Both follow the server's own reply time:
three pages in a row that take over twice what they should halve the next, a good one adds a key.
Where few of the keys looked at are wanted, a page looks at more, for the same cost. arithmetic; the caller sleeps.
"""

from typing import Final

from cacherollout.cache.limits import Limits

_CREDIT_SECONDS: Final = 0.002
"""How much lateness is made up for: timers wake late, and the average rate must still hold."""
_SCAN_WEIGHT: Final = 0.25
"""Looking at a key costs a server about a quarter of copying or removing it (0.7 of 2.8 µs)."""
_CHANCE_PAGES: Final = 3
"""One slow page, or two, may be anybody's hiccup."""
_LEARNING: Final = 0.1
"""How much the last page says about the next one's share of wanted keys."""
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
        self._slow_pages = 0
        self.page_keys = limits.page_keys
        """How many wanted keys the next page may hold."""
        self._density = 1.0

    @property
    def count(self) -> int:
        """How many keys the next page may look at, going by how many of the last were wanted."""
        return round(self.page_keys * (1 + _SCAN_WEIGHT) / (self._density + _SCAN_WEIGHT))

    def learn(self, *, examined: int, keys: int) -> None:
        """Take in that a page looked at `examined` keys and `keys` of them were wanted."""
        self._density += (min(1.0, keys / examined) - self._density) * _LEARNING

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
        limits = self._limits
        # A small page is not proportionally faster: it costs a server at least half a full one.
        work = max(keys + self.count * _SCAN_WEIGHT, limits.page_keys / 2)
        seconds = busy_seconds / work
        self._best_seconds = min(self._best_seconds * _FORGETTING, seconds)
        is_slow = seconds > 2 * self._best_seconds + self._idle_seconds / work
        self._slow_pages = self._slow_pages + 1 if is_slow else 0
        if self._slow_pages >= _CHANCE_PAGES:
            self._slow_pages = 0
            self.page_keys = max(limits.min_page_keys, self.page_keys // 2)
        elif not is_slow:
            self.page_keys = min(limits.page_keys, self.page_keys + 1)
