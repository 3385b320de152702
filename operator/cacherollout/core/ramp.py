"""How many canary pods take traffic, and whether the rolling update may go on.

The pace follows the load on the origin, not the clock: a step is taken only where the load that it
is predicted to cause stays within the budget. docs/explanation/ramp.md has the derivation.
"""

from dataclasses import dataclass
from math import floor, inf
from typing import Final

from cacherollout.api.ledger import Attempt
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.api.scalars import resolve_count
from cacherollout.core.counting import MIN_BASELINE, hit_rate, origin_ratio

STEP_SECONDS: Final = 15.0
"""Least time at one share: three measurements at the default interval."""
RESUME_SHARE: Final = 0.9
"""A paced rolling update goes on when the load has fallen to this share of the budget."""


@dataclass(frozen=True, slots=True)
class Step:
    """How many canary pods shall be admitted, and why not more."""

    admitted: int
    waiting_for: str = ""
    is_over_budget: bool = False


def first_step(spec: CacheRolloutSpec, stable_pods: int) -> int:
    """Canary pods that are admitted first."""
    return min(resolve_count(spec.canary.replicas, stable_pods), most(spec, stable_pods))


def most(spec: CacheRolloutSpec, stable_pods: int) -> int:
    """Canary pods that may be admitted before promotion."""
    return resolve_count(spec.canary.max_replicas, stable_pods)


def next_step(spec: CacheRolloutSpec, attempt: Attempt, stable_pods: int, now: float) -> Step:
    """The next number of admitted canary pods, given that every gate allows a step.

    With R lookups per second, budget X, baseline B and hit rates h_s and h_c, the largest safe
    increase of the canary's share is (X*B - origin) / (R * (h_s - h_c)).
    """
    limit = most(spec, stable_pods)
    here = attempt.admitted
    if here == 0:
        return Step(first_step(spec, stable_pods))
    if here >= limit:
        return Step(here)
    since = now - (attempt.admitted_at or now)
    pause = max(STEP_SECONDS, 3 * spec.metrics.interval)
    if since < pause:
        return Step(here, f"+1 pod in {pause - since:.0f} s")
    allowed = safe_increase(spec, attempt)
    pods = floor(allowed * (stable_pods + here)) if allowed < inf else limit - here
    if pods < 1:
        return Step(here, "the load on the origin leaves no room for a pod", is_over_budget=True)
    return Step(here + 1)


def safe_increase(spec: CacheRolloutSpec, attempt: Attempt) -> float:
    """Share (0…1) of the traffic that may be moved to the canary now; inf where it costs nothing.

    0 while the origin's normal load is not known.
    """
    base, stable, canary = attempt.baseline_origin, attempt.stable_traffic, attempt.canary_traffic
    if base is None or origin_ratio(attempt) is None:
        return 0.0
    lookups = stable.lookups + canary.lookups
    gap = (hit_rate(stable) or 0.0) - (hit_rate(canary) or 0.0)
    room = spec.budget() * max(base, MIN_BASELINE) - (stable.origin + canary.origin)
    if room <= 0:
        return 0.0
    if lookups <= 0 or gap <= 0:
        return inf
    return room / (lookups * gap)


def may_roll(spec: CacheRolloutSpec, attempt: Attempt) -> bool:
    """Whether the target's rolling update may go on, with a hysteresis around the budget."""
    ratio = origin_ratio(attempt)
    if ratio is None:
        return True
    if attempt.is_paced:
        return ratio <= max(1.0, RESUME_SHARE * spec.budget())
    return ratio <= spec.budget()
