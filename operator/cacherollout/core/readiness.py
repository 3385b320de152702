"""What a check before a release speaks of: what was seen, and items that say what it means. Pure.

Facts of this command alone stand here; what the operator itself looks at stays in core.facts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cacherollout.api.ledger import Ledger, Release
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.facts import Measurement, Observed
from cacherollout.core.versions import next_version, wanted_release
from cacherollout.core.warmup import FamilyPlan, plan_families

WARNING_SHARE: Final = 0.5
"""Part of its points that an item keeps with a warning."""
_NAMED: Final = 3
"""Names that a sentence lists before it only counts them."""


class Outcome(StrEnum):
    """What an item's check found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Point:
    """What an item is worth; `does_stop`: a failure of it would stop or break a rollout."""

    points: int
    does_stop: bool
    why: str


POINTS: Final[Mapping[str, Point]] = {
    "operator": Point(8, True, "while nobody acts on the spec, nothing is gated"),
    "target": Point(
        8, True, "an incomplete target is not adopted, and nothing is compared with it"
    ),
    "hold": Point(10, True, "a template change that is not held reaches everybody at once"),
    "version": Point(10, True, "two schemas under one version read each other's values"),
    "canary": Point(4, False, "one pod of few is a large share of the users"),
    "keyPrefixes": Point(6, True, "a key outside the prefixes is refused, and with it the rollout"),
    "access": Point(8, True, "without the cache no release is warmed, started or promoted"),
    "versionsKey": Point(
        4, True, "a write reaches no value that only the other version has, or nothing starts"
    ),
    "keys": Point(6, True, "a wrong template warms nothing and protects nothing"),
    "values": Point(8, True, "unusable values are copied with the others, and fail the gate"),
    "ttl": Point(4, False, "keys without one stay; a wrong one lets the old version grow cold"),
    "memory": Point(8, True, "two versions exist side by side, or none of the new one"),
    "metrics": Point(4, True, "gates judge by the pods' counters alone"),
    "versionInUse": Point(4, True, "a canary that reads another version's keys fails its gate"),
    "cacheHitRate": Point(2, True, "a gate without a verdict ends in a roll-back"),
    "cacheErrorRate": Point(2, True, "the same"),
    "cacheLatency": Point(2, True, "the same"),
    "httpErrorRate": Point(2, True, "the same"),
}
"""Points of every item, in the order in which people read them; together 100."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist: what was found and what to do about it."""

    name: str
    outcome: Outcome
    message: str

    @property
    def points(self) -> float:
        """Points that it earns."""
        share = {Outcome.OK: 1.0, Outcome.WARNING: WARNING_SHARE}.get(self.outcome, 0.0)
        return POINTS[self.name].points * share


@dataclass(frozen=True, slots=True)
class Unseen:
    """Why a part of the world could not be looked at.

    `is_failure` where that is a finding in itself, since the operator could not look either.
    """

    why: str
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class FamilyStock:
    """One family under the stable version, as counted and sampled."""

    family: str
    keys: int = 0
    bytes: int = 0
    keys_without_ttl: int = 0
    longest_ttl_seconds: float | None = None
    sampled: int = 0
    corrupt: int = 0
    example: str = ""
    """What was wrong with one value, without any stored value."""


@dataclass(frozen=True, slots=True)
class CacheStock:
    """What the cache holds of the stable version, and what it lets its user do."""

    families: tuple[FamilyStock, ...] = ()
    used_bytes: int = 0
    limit_bytes: int | None = None
    headroom_bytes: int | None = None
    """Bytes left below the backend's ceiling; None where the server has no limit."""
    policy: str = "noeviction"
    versions_key_trouble: str = ""
    """Why the versions key could not be published; empty where it could, or where there is none."""
    missing_rights: tuple[str, ...] = ()
    """What the user may not do; where there are any, nothing else was looked at."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that was looked at."""

    spec: CacheRolloutSpec
    ledger: Ledger
    is_acted_upon: bool
    """The operator has acted on the newest spec."""
    stall: str
    """Why the operator calls it stalled; empty where it does not."""
    observed: Observed
    prefixes: tuple[str, ...] | Unseen
    cache: CacheStock | Unseen
    measurements: tuple[Measurement, Measurement] | Unseen


@dataclass(frozen=True, slots=True)
class Upcoming:
    """What the next release would be, as far as it is known before it is there."""

    stable: str
    """Cache version that serves now."""
    version: str
    changed: tuple[str, ...]
    """Families whose declared schema is not that of the stable release."""
    plan: FamilyPlan

    @property
    def is_sharing(self) -> bool:
        """Whether it uses the stable version's keys."""
        return self.version == self.stable


def upcoming(seen: Seen) -> Upcoming | None:
    """What the next change of the template would be tried as; None before the adoption."""
    spec, stable, target = seen.spec, seen.ledger.stable, seen.observed.target
    if stable is None or target is None:
        return None
    if target.revision == stable.revision:
        # Whatever comes has another template.
        target = replace(target, revision="upcoming")
    wanted = wanted_release(spec, stable, target)
    version = wanted.version if wanted else stable.version
    version = version or next_version(seen.ledger.versions, stable.version)
    prints = spec.fingerprints()
    changed = tuple(name for name in prints if stable.fingerprints.get(name) != prints[name])
    release = Release(target.revision, version, fingerprints=prints)
    plan = plan_families(spec, release, stable.version, stable.fingerprints)
    return Upcoming(stable.version, version, changed, plan)


def not_checked(name: str, why: str) -> Item:
    """An item about something that could not be looked at."""
    return Item(name, Outcome.NOT_CHECKED, why)


def unseen(name: str, reason: Unseen) -> Item:
    """The same, or a failure where not seeing is one."""
    return Item(name, Outcome.FAILED if reason.is_failure else Outcome.NOT_CHECKED, reason.why)


def listed(names: Iterable[str]) -> str:
    """Names as people list them; beyond the first few they are counted."""
    known = list(names)
    if len(known) > _NAMED:
        return f"{', '.join(known[:_NAMED])} and {len(known) - _NAMED} more"
    return " and ".join(filter(None, (", ".join(known[:-1]), *known[-1:])))
