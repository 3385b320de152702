"""Hot: which ids carry the traffic. Coverage: how many of them another version already holds.

Under an LFU policy the server counts accesses (OBJECT FREQ), under any other it knows how long ago
the last one was (OBJECT IDLETIME), which is as good a guide from the hottest 5 % of keys on. Both
are read without touching the keys' own heat.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cacherollout.cache.facts import ServerFacts
from cacherollout.cache.feeds import Feed, ListFeed
from cacherollout.cache.keys import Family, Match, Scope, key_of
from cacherollout.cache.limits import Limits
from cacherollout.cache.servers import FirstOnly, Server, Tour
from cacherollout.cache.sweeps import Steps, Sweep

_TRIM_AT: Final = 2
"""Candidates are cut back to the hottest when there are this many times too many."""


@dataclass(frozen=True, slots=True)
class HotIds:
    """The hottest ids of one family, hottest first.

    Attributes:
        family: Its name.
        ids: The ids.
        heats: Of each id: under ``frequency`` the server's logarithmic counter (0 to 255, more is
            hotter), under ``idle`` the seconds since the last access (fewer is hotter).

    """

    family: str
    ids: tuple[bytes, ...]
    heats: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class HotReport:
    """The hottest ids of every family, and what heat means here.

    `measure` is ``frequency`` under an LFU policy, else ``idle`` (recency).
    """

    families: tuple[HotIds, ...]
    measure: Literal["frequency", "idle"]


class Hot(Sweep[dict[str, dict[bytes, int]], HotReport]):
    """Find the `top` hottest ids of each family under `version`.

    Reads only. Costs about 2 µs of server time a key; memory is O(top) a family.
    """

    def __init__(
        self,
        server: Server,
        families: Sequence[Family],
        *,
        version: str,
        top: int = 10_000,
        limits: Limits | None = None,
    ) -> None:
        if top < 1:
            raise ValueError("top: must be at least 1")
        tally: dict[str, dict[bytes, int]] = {family.name: {} for family in families}
        super().__init__(server, Scope(tuple(families), (version,)), limits or Limits(), tally)
        self._top = top
        self._is_lfu = False

    def _arrive(self, facts: ServerFacts) -> None:
        self._is_lfu = facts.memory.policy.endswith("-lfu")

    def _steps(self, matches: Sequence[Match]) -> Steps:
        if not matches:
            return
        about = b"FREQ" if self._is_lfu else b"IDLETIME"
        replies = yield [(b"OBJECT", about, match.key) for match in matches]
        for match, reply in zip(matches, replies, strict=True):
            if reply is not None:  # it may have expired meanwhile
                heat = reply if self._is_lfu else -reply
                self._tally[match.family.name][match.id] = heat
        for name, heats in self._tally.items():
            if len(heats) > _TRIM_AT * self._top:
                self._tally[name] = dict(self._hottest(heats.items()))

    def _hottest(self, heats: Iterable[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        return heapq.nlargest(self._top, heats, key=lambda item: item[1])

    def _report(self) -> HotReport:
        return HotReport(
            families=tuple(
                HotIds(
                    name,
                    ids=tuple(identifier for identifier, _ in hottest),
                    heats=tuple(abs(heat) for _, heat in hottest),
                )
                for name, heats in self._tally.items()
                for hottest in [self._hottest(heats.items())]
            ),
            measure="frequency" if self._is_lfu else "idle",
        )


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """How many of the ids asked about are there."""

    family: str
    sampled: int
    present: int

    @property
    def share(self) -> float:
        """Present ÷ sampled, 0 to 1; 1 when nothing was asked about."""
        return self.present / self.sampled if self.sampled else 1.0


class Coverage(Sweep[list[int], CoverageReport]):
    """Count which of `ids` of one family exist under `version`. Reads only, 0.3 µs an id."""

    def __init__(
        self,
        server: Server,
        family: Family,
        *,
        version: str,
        ids: Sequence[bytes],
        limits: Limits | None = None,
    ) -> None:
        super().__init__(server, Scope((family,), (version,)), limits or Limits(), [0, 0])
        self._keys = [key_of(family, version, identifier) for identifier in ids]

    def _feed(self) -> Feed:
        return ListFeed(self._keys)

    def _tour(self) -> Tour:
        return FirstOnly(self._server)

    def _arrive(self, facts: ServerFacts) -> None:
        self._meter.keyspace = len(self._keys)

    def _steps(self, matches: Sequence[Match]) -> Steps:
        if not matches:
            return
        (present,) = yield [(b"EXISTS", *[match.key for match in matches])]
        self._tally[0] += len(matches)
        self._tally[1] += present

    def _report(self) -> CoverageReport:
        family = self._scope.families[0].name
        return CoverageReport(family, sampled=self._tally[0], present=self._tally[1])
