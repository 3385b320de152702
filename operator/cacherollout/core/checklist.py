"""The checklist before a release: what was seen in, items and a score out. Pure.

An item that could not be looked at earns nothing: a score speaks of what is known, not of hope.
"""

from dataclasses import dataclass
from typing import Final

from cacherollout.core import cache_checks, release_checks, traffic_checks
from cacherollout.core.readiness import (
    POINTS,
    Item,
    Outcome,
    Seen,
    Unseen,
    Upcoming,
    not_checked,
    upcoming,
)

CAP: Final = 40
"""Highest score where something failed that would stop or break a rollout."""


@dataclass(frozen=True, slots=True)
class Checklist:
    """All items, and what they say together."""

    items: tuple[Item, ...]

    @property
    def score(self) -> int:
        """Readiness from 0 to 100, at most `CAP` where something failed that stops a rollout."""
        earned = int(sum(item.points for item in self.items))
        return min(earned, CAP) if self.stoppers else earned

    @property
    def stoppers(self) -> tuple[Item, ...]:
        """Failed items that would stop or break a rollout."""
        failed = self.with_outcome(Outcome.FAILED)
        return tuple(item for item in failed if POINTS[item.name].does_stop)

    def with_outcome(self, outcome: Outcome) -> tuple[Item, ...]:
        """The items that ended so."""
        return tuple(item for item in self.items if item.outcome is outcome)


def check(seen: Seen) -> Checklist:
    """Every item, in the order in which people read them."""
    coming = upcoming(seen)
    items = [
        release_checks.operator(seen),
        release_checks.target(seen),
        release_checks.hold(seen),
        release_checks.key_prefixes(seen),
        cache_checks.access(seen),
        cache_checks.versions_key(seen),
        *traffic_checks.check(seen, coming),
    ]
    if coming is None:
        items += [not_checked(name, NOT_ADOPTED) for name in ("version", "canary", *_OF_STABLE)]
    else:
        items += [release_checks.version(seen, coming), release_checks.canary(seen)]
        items += _stock(seen, coming)
    order = list(POINTS)
    return Checklist(tuple(sorted(items, key=lambda item: order.index(item.name))))


def refuse(message: str) -> Checklist:
    """The checklist of a spec that cannot be acted upon: nothing else means anything."""
    items = [Item("operator", Outcome.FAILED, message)]
    rest = (name for name in POINTS if name != "operator")
    items += [not_checked(name, "the spec cannot be acted upon") for name in rest]
    return Checklist(tuple(items))


NOT_ADOPTED: Final = "nothing is adopted yet, so there is no stable version to look at"
_OF_STABLE: Final = ("keys", "values", "ttl", "memory")


def _stock(seen: Seen, coming: Upcoming) -> tuple[Item, ...]:
    if isinstance(seen.cache, Unseen) or seen.cache.missing_rights:
        why = "the cache could not be looked at; see access"
        return tuple(not_checked(name, why) for name in _OF_STABLE)
    stock = seen.cache
    return (
        cache_checks.keys(seen.spec, stock, coming),
        cache_checks.values(stock, coming),
        cache_checks.ttl(seen.spec, stock, coming),
        cache_checks.memory(seen.spec, stock, coming),
    )
