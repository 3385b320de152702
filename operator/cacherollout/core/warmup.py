"""Filling the new namespace: which families how, how fast, and when it is warm enough.

Warm enough means: letting every request in at once would keep the origin within its budget X. With
a stable hit rate h that is a coverage of at least 1 - X (1 - h); docs/explanation/warming.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cacherollout.api.ledger import Attempt, Release
from cacherollout.api.rollout import CacheRolloutSpec, Warm
from cacherollout.core.actions import CopyWork, MirrorWork, ReplayWork, VerifyWork, Work
from cacherollout.core.counting import MIN_BASELINE_TICKS, hit_rate
from cacherollout.core.facts import CacheFacts
from cacherollout.core.gates import proved_share

ASSUMED_HIT_RATE: Final = 0.9
"""Used until the stable side was measured."""
REPLAY_SHARE: Final = 0.8
"""Part of the origin's spare budget that replaying may use."""
REPLAY_FLOOR: Final = 5.0
REPLAY_CEILING: Final = 500.0
"""Requests per second that replaying stays between where the origin has some to spare."""
REPLAY_TRICKLE: Final = 0.5
"""Requests per second where it has none: enough to see when it has again."""


@dataclass(frozen=True, slots=True)
class FamilyPlan:
    """How each family of a release gets its values, by family name."""

    copied: tuple[str, ...] = ()
    replayed: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()


def plan_families(
    spec: CacheRolloutSpec,
    release: Release,
    stable_version: str,
    stable_fingerprints: Mapping[str, str],
) -> FamilyPlan:
    """How the families are filled; nothing is to do where both releases share the namespace.

    A family whose declared schema changed is never copied, whatever `warm` says: its stored values
    mean something else now.
    """
    if release.version == stable_version:
        return FamilyPlan()
    copied, replayed, cold = [], [], []
    for family in spec.cache.families:
        known = stable_fingerprints.get(family.name)
        is_same = known is not None and known == release.fingerprints.get(family.name)
        if family.warm is Warm.COPY and is_same:
            copied.append(family.name)
        elif family.warm is not Warm.NONE and family.replay_path:
            replayed.append(family.name)
        else:
            cold.append(family.name)
    return FamilyPlan(tuple(copied), tuple(replayed), tuple(cold))


def warm_works(
    spec: CacheRolloutSpec, attempt: Attempt, stable: Release, *, is_warming: bool
) -> tuple[Work, ...]:
    """The cache works of an attempt, while it warms and afterwards until it ends."""
    plan = plan_families(spec, attempt.release, stable.version, stable.fingerprints)
    target = attempt.release.version
    if target == stable.version:
        return ()
    works: list[Work] = [
        MirrorWork(
            copied=plan.copied,
            invalidated=(*plan.replayed, *plan.cold),
            one=stable.version,
            other=target,
        ),
        VerifyWork(target, spec.gates.integrity.sample),
    ]
    if plan.copied and is_warming:
        works.append(CopyWork(plan.copied, stable.version, target))
    if plan.replayed and is_warming and attempt.baseline_ticks >= MIN_BASELINE_TICKS:
        works.append(
            ReplayWork(
                plan.replayed,
                stable.version,
                target,
                coverage=round(required_coverage(spec, attempt), 2),
                per_second=replay_rate(spec, attempt),
            )
        )
    return tuple(works)


def required_coverage(spec: CacheRolloutSpec, attempt: Attempt) -> float:
    """Share (0…1) of the traffic's keys that the new namespace must hold before traffic."""
    measured = hit_rate(attempt.stable_traffic)
    stable = ASSUMED_HIT_RATE if measured is None else min(max(measured, 0.0), 0.99)
    return min(max(1 - spec.budget() * (1 - stable), 0.0), 0.98)


def replay_rate(spec: CacheRolloutSpec, attempt: Attempt) -> float:
    """Requests per second that replaying may cause, from what the budget leaves of the origin now.

    What the stable version itself asks of the origin beyond its normal load is not there to replay
    with, and an origin that cannot answer the stable version gets no further work at all.
    """
    normal, budget = attempt.baseline_origin or 0.0, spec.budget()
    left = budget * normal - attempt.stable_traffic.origin
    if (normal > 0 and left <= 0) or is_stable_failing(spec, attempt):
        return REPLAY_TRICKLE
    spare = min((budget - 1) * normal, left) * REPLAY_SHARE
    return round(min(max(spare, REPLAY_FLOOR), REPLAY_CEILING), 1)


def is_stable_failing(spec: CacheRolloutSpec, attempt: Attempt) -> bool:
    """Whether users of the stable version surely meet errors that they did not meet before.

    More than its gate's alert, that is, and more than twice what was usual: a stable version that
    always fails must not keep its own cure from being warmed.
    """
    seen, seconds = attempt.stable_traffic, spec.metrics.interval
    share = proved_share(seen.failures * seconds, seen.requests * seconds)
    return share >= max(spec.gates.http_error_rate.alert, 2 * attempt.baseline_failing)


def is_warm(works: tuple[Work, ...], cache: CacheFacts) -> bool:
    """Whether every filling work is done and the mirror, where there is one, is coherent."""
    for work in works:
        if isinstance(work, CopyWork | ReplayWork):
            facts = cache.work(work.key)
            if facts is None or not facts.is_done:
                return False
        if isinstance(work, MirrorWork) and not (cache.coherence and cache.coherence.is_coherent):
            return False
    return True


def is_waiting_for_baseline(attempt: Attempt) -> bool:
    """Whether the origin's normal load is not known yet: replay, ramp and promotion go by it."""
    return attempt.baseline_ticks < MIN_BASELINE_TICKS
