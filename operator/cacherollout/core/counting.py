"""From cumulative counters of pods to what happened between two measurements.

Deltas are taken per pod before anything is summed: a restarted pod contributes what it counted
since, a pod seen for the first time nothing, a vanished pod drops out. A measurement that was
counted already changes nothing, so a repeated pass never doubles the evidence.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from cacherollout.api.ledger import MAX_COUNTED_PODS, Attempt, CountedPod, Counters, Traffic
from cacherollout.core.facts import Measurement, PodFacts

_NAMES = tuple(item.name for item in fields(Counters))
_RATES = tuple(item.name for item in fields(Traffic))

BASELINE_WEIGHT = 0.3
"""Weight of the newest measurement in the origin's baseline (exponential mean)."""
MIN_BASELINE_TICKS = 2
"""Measurements before the baseline may be trusted."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What each side counted between two measurements, `seconds` apart."""

    seconds: float
    canary: Counters
    stable: Counters


def delta(before: Counters, now: Counters) -> Counters:
    """Increase of every counter; a counter that fell was reset and counts from zero."""
    return Counters(
        **{name: _increase(getattr(before, name), getattr(now, name)) for name in _NAMES}
    )


def increases(before: Measurement, now: Measurement) -> list[Counters]:
    """What each pod counted between two measurements, of those that are in both."""
    known = {pod.uid: pod.counters for pod in before.pods}
    return [delta(known[pod.uid], pod.counters) for pod in now.pods if pod.uid in known]


def _increase(before: float, now: float) -> float:
    return now - before if now >= before else now


def total(parts: Iterable[Counters]) -> Counters:
    """Sum over pods."""
    listed = list(parts)
    return Counters(**{name: sum(getattr(part, name) for part in listed) for name in _NAMES})


def count(
    attempt: Attempt,
    measurement: Measurement | None,
    new_side: frozenset[str],
    serving: frozenset[str],
) -> tuple[Attempt, Tick | None]:
    """The attempt with a measurement counted in, and the tick; no tick where nothing is new.

    `new_side` are the UIDs of the pods that run the release on trial, `serving` of those that take
    traffic. Rates stand for every serving pod, also for those that were seen for the first time.
    """
    if measurement is None or not measurement.pods:
        return attempt, None
    if attempt.measured_at is not None and measurement.at <= attempt.measured_at:
        return attempt, None
    before = {pod.uid: pod.counters for pod in attempt.counted}
    seen = [
        (pod.uid, delta(before[pod.uid], pod.counters))
        for pod in measurement.pods
        if pod.uid in before
    ]
    seconds = measurement.at - (attempt.measured_at or measurement.at)
    kept = sorted(measurement.pods, key=lambda pod: (pod.uid not in new_side, pod.uid))
    attempt = replace(
        attempt,
        measured_at=measurement.at,
        counted=tuple(CountedPod(pod.uid, pod.counters) for pod in kept[:MAX_COUNTED_PODS]),
    )
    if not seen or seconds <= 0:
        return attempt, None
    tick = Tick(
        seconds=seconds,
        canary=total(part for uid, part in seen if uid in new_side),
        stable=total(part for uid, part in seen if uid not in new_side),
    )
    now = {pod.uid for pod in measurement.pods} & serving
    known = now & before.keys()
    stable = rates(tick.stable, seconds * _share(known - new_side, now - new_side))
    canary = rates(tick.canary, seconds * _share(known & new_side, now & new_side))
    return _with_rates(attempt, stable, canary), tick


def _share(known: set[str], now: set[str]) -> float:
    return len(known) / len(now) if known else 1.0


def _with_rates(attempt: Attempt, stable: Traffic, canary: Traffic) -> Attempt:
    was_busy = attempt.stable_traffic.requests > 0
    attempt = replace(attempt, stable_traffic=stable, canary_traffic=canary)
    if canary.requests > 0:
        attempt = replace(attempt, data_since=attempt.measured_at)
    # Silence is no normal load, nor is a tick that traffic came back in the middle of.
    if attempt.traffic_since is not None or stable.requests <= 0 or not was_busy:
        return attempt
    # Before the canary takes traffic, the stable side alone is the baseline. Replayed reads reach
    # the origin through the canary's pods, so they do not raise it.
    known = attempt.baseline_origin
    baseline = stable.origin if known is None else known + BASELINE_WEIGHT * (stable.origin - known)
    failing = attempt.baseline_failing
    if attempt.baseline_ticks < MIN_BASELINE_TICKS:
        failing = max(failing, round(min(1.0, stable.failures / stable.requests), 4))
    return replace(
        attempt,
        baseline_origin=round(baseline, 3),
        baseline_ticks=attempt.baseline_ticks + 1,
        baseline_failing=failing,
    )


def rates(counters: Counters, seconds: float) -> Traffic:
    """Counters of one interval as rates per second, rounded to what is worth storing."""
    return Traffic(**{name: round(getattr(counters, name) / seconds, 4) for name in _RATES})


def side_of(
    pods: Iterable[PodFacts], revision: str, version: str, default_version: str
) -> frozenset[str]:
    """UIDs of the pods that run this release, whoever created them."""
    return frozenset(
        pod.uid
        for pod in pods
        if pod.is_canary
        or (pod.revision == revision and (pod.version or default_version) == version)
    )


def hit_rate(traffic: Traffic) -> float | None:
    """Share of lookups that the cache answered; None without lookups."""
    return 1 - traffic.misses / traffic.lookups if traffic.lookups > 0 else None


def origin_ratio(attempt: Attempt) -> float | None:
    """Load on the origin ÷ load before the canary took traffic; None before it is known."""
    base = attempt.baseline_origin
    if base is None or attempt.baseline_ticks < MIN_BASELINE_TICKS:
        return None
    load = attempt.stable_traffic.origin + attempt.canary_traffic.origin
    return load / max(base, MIN_BASELINE)


MIN_BASELINE = 1.0
"""Origin reads per second below which a ratio would only amplify noise."""
