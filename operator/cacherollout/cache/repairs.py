"""Repair: make two versions coherent again after pushes were lost.

What happened during a gap left no trace, so nothing is assumed; what may be stale goes, and a miss
is always safe. Which side may be stale follows from who serves:

- **One version serves.** It alone takes the application's invalidations, so it is right. Under a
  compatible family every key of the other version that differs from its counterpart goes; where
  the stable version serves, it is overwritten instead. Keys of the serving version are never
  touched, and values of the target never reach the stable version.
- **Both serve.** Either may have missed the other's invalidations. Compatible pairs with equal
  values stay, everything else in the scope is removed on both sides: about gap ÷ TTL of the keys,
  and those that `Copy` has not brought over; so copy before the second version serves.
- **Values that cannot be converted** cannot be compared. A key stays only if its counterpart is
  there and surely older than the gap: its remaining TTL is below the shortest full TTL minus the
  age of the gap. Without a declared TTL, or with a gap of unknown age, nothing is sure. Where both
  serve, keys of the stable version without a counterpart stay: removing them all would empty the
  cache that carries the load, for the sake of the few that were written in the gap.
- **Whoever deletes deletes under both** (`Writes.INVALIDATE_ALL`). Then nothing was missed that
  matters, and where both serve everything stays. Before that the target's keys may be older than
  the promise, and go or are overwritten like any others.

Runs over the mirror's own connection, beside the live changes, page by page within the limits.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cacherollout.cache.keys import Match, Scope, Writes
from cacherollout.cache.limits import Limits
from cacherollout.cache.lockstep import in_step
from cacherollout.cache.reconciling import Pair, Rule
from cacherollout.cache.servers import Server
from cacherollout.cache.sweeps import Steps, Sweep


@dataclass(frozen=True, slots=True)
class RepairReport:
    """How many keys were overwritten and how many removed."""

    overwritten: int
    removed: int


class Repair(Sweep[Counter[str], RepairReport]):
    """One walk that restores coherence; see the module.

    `scope` holds the two versions, stable first. `gap_seconds` is how long ago the last push that
    is known to have arrived was sent; None if unknown.
    """

    def __init__(
        self,
        server: Server,
        scope: Scope,
        *,
        serving: frozenset[str],
        gap_seconds: float | None,
        limits: Limits,
        is_clustered: bool = False,
    ) -> None:
        super().__init__(server, scope, limits, Counter())
        self._stable, self._target = scope.versions
        self._serving = serving
        self._standby = self._stable if serving == {self._target} else self._target
        self._gap_seconds = gap_seconds
        self._is_clustered = is_clustered

    def _steps(self, matches: Sequence[Match]) -> Steps:
        found = [pair for match in matches if (pair := self._pair(match)) is not None]
        pairs = (
            [replace(pair, is_clustered=True) for pair in found] if self._is_clustered else found
        )
        for outcome in (yield from in_step([pair.steps() for pair in pairs])):
            self._tally["overwritten"] += outcome > 0
            self._tally["removed"] -= min(0, outcome)

    def _pair(self, match: Match) -> Pair | None:
        other = self._target if match.version == self._stable else self._stable
        counterpart = match.under(other)
        do_both_serve = len(self._serving) == 2
        if do_both_serve and match.family.writes is Writes.INVALIDATE_ALL:
            return None
        if match.family.is_compatible:
            if do_both_serve:
                return Pair(Rule.BOTH, match.key, counterpart)
            if match.version in self._serving:
                return None
            rule = Rule.ONE if other == self._stable else Rule.BACK
            return Pair(rule, counterpart, match.key)
        if match.version != self._standby:
            return None
        return Pair(
            Rule.GAP_BOTH if do_both_serve else Rule.GAP,
            counterpart,
            match.key,
            old_ms=self._old_ms(match.family.ttl_seconds),
        )

    def _old_ms(self, ttl_seconds: float | None) -> int:
        if ttl_seconds is None or self._gap_seconds is None:
            return 0
        return max(0, round(1000 * (ttl_seconds - self._gap_seconds)))

    def _report(self) -> RepairReport:
        return RepairReport(self._tally["overwritten"], self._tally["removed"])
