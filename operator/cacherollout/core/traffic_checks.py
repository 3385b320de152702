"""Checks of the pods' counters: who answers, what is counted, and when the gates could tell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cacherollout.api.ledger import Counters, Evidence
from cacherollout.core.counting import increases, total
from cacherollout.core.facts import Measurement
from cacherollout.core.gates import RatioGate, proved_share, ratio_gates
from cacherollout.core.judging import FOREIGN_LIMIT
from cacherollout.core.ramp import first_step, most
from cacherollout.core.readiness import (
    Item,
    Outcome,
    Seen,
    Unseen,
    Upcoming,
    listed,
    not_checked,
    unseen,
)

SERIES: Final = {
    "cacheHitRate": "cache_lookups_total",
    "cacheErrorRate": "cache_operations_total",
    "cacheLatency": "cache_operation_duration_seconds",
    "httpErrorRate": "http_requests_total",
}
"""What the pods must expose for each ratio gate."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """What the stable pods counted: in all, and between the two measurements."""

    seconds: float
    counted: Counters
    increase: Counters
    foreign: float


def check(seen: Seen, coming: Upcoming | None) -> tuple[Item, ...]:
    """The items about metrics and ratio gates."""
    gates = ratio_gates(seen.spec)
    if isinstance(seen.measurements, Unseen):
        blind = "the pods' counters could not be read; see metrics"
        rest = ("versionInUse", *(gate.name for gate in gates))
        return (
            unseen("metrics", seen.measurements),
            *(not_checked(name, blind) for name in rest),
        )
    before, now = seen.measurements
    sample = _sample(before, now)
    return (
        _metrics(seen, now),
        _version_in_use(sample),
        *(_gate(seen, coming, sample, gate) for gate in gates),
    )


def _sample(before: Measurement, now: Measurement) -> _Sample:
    return _Sample(
        seconds=max(now.at - before.at, 0.001),
        counted=total(pod.counters for pod in now.pods),
        increase=total(increases(before, now)),
        foreign=sum(pod.foreign_lookups for pod in now.pods),
    )


def _metrics(seen: Seen, now: Measurement) -> Item:
    asked, measured = len(seen.observed.target_pods()), len(now.pods)
    if now.problem is not None:
        return Item("metrics", Outcome.WARNING, now.problem.message)
    return Item("metrics", Outcome.OK, f"{measured} of {asked} pods of the target show counters")


def _version_in_use(sample: _Sample) -> Item:
    if not sample.counted.lookups:
        return not_checked("versionInUse", "no lookup was counted")
    if sample.foreign >= FOREIGN_LIMIT:
        return Item(
            "versionInUse",
            Outcome.FAILED,
            f"{sample.foreign:,.0f} of {sample.counted.lookups:,.0f} lookups were under another "
            "version than their pod's: build every key from the version variable",
        )
    return Item("versionInUse", Outcome.OK, "pods look up under their own version only")


def _gate(seen: Seen, coming: Upcoming | None, sample: _Sample, gate: RatioGate) -> Item:
    if gate.total(sample.counted) <= 0:
        return Item(
            gate.name,
            Outcome.FAILED,
            f"the pods counted nothing in {SERIES[gate.name]}: expose it, or the gate never tells",
        )
    count, bad = gate.total(sample.increase), gate.bad(sample.increase)
    if count <= 0:
        return Item(
            gate.name,
            Outcome.FAILED,
            f"nothing was counted in {sample.seconds:.0f} s: a release is held without traffic; "
            "release when there is some",
        )
    alone = (*coming.plan.replayed, *coming.plan.cold) if coming else ()
    if gate.name == "cacheHitRate" and alone:
        return Item(
            gate.name,
            Outcome.OK,
            f"will be reported, not judged: {listed(alone)} starts with values of its own",
        )
    proved = proved_share(bad, count)
    if proved > gate.target:
        return Item(
            gate.name,
            Outcome.FAILED,
            f"on the stable version {bad:,.0f} of {count:,.0f} {gate.noun}, above the "
            f"{gate.target * 100:.4g} % that a release may show: mend it, or widen the target",
        )
    return _verdict_time(seen, gate, Evidence(gate.name, bad=bad, total=count), sample.seconds)


def _verdict_time(seen: Seen, gate: RatioGate, known: Evidence, seconds: float) -> Item:
    """When the gate could tell, if the canary is as good as the stable version."""
    pods = seen.observed.target.replicas if seen.observed.target else 0
    rate, deadline = known.total / seconds, seen.spec.deadline
    if pods == 0:
        return not_checked(gate.name, "without pods of the target the canary's share is unknown")

    def at(size: Callable[..., int]) -> float:
        admitted = size(seen.spec, pods)
        found = gate.eta(known, rate * admitted / (pods + admitted))
        return max(seen.spec.soak, found if found is not None else float("inf"))

    first, largest = at(first_step), at(most)
    text = f"{rate:,.3g} counted a second: a verdict in about"
    if largest > deadline:
        return Item(
            gate.name,
            Outcome.FAILED,
            f"{text} {_time(largest)} even at canary.maxReplicas, past the deadline of "
            f"{_time(deadline)}: lengthen spec.deadline, or release when there is more traffic",
        )
    if first > deadline:
        return Item(
            gate.name,
            Outcome.WARNING,
            f"{text} {_time(first)} at the first step, past the deadline of {_time(deadline)}; "
            f"{_time(largest)} at canary.maxReplicas: raise canary.replicas",
        )
    return Item(gate.name, Outcome.OK, f"{text} {_time(first)} (soak {_time(seen.spec.soak)})")


def _time(seconds: float) -> str:
    if seconds >= 86_400 * 9:
        return "more than a week"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return (
        f"{minutes} min {rest:02} s"
        if minutes and rest
        else f"{minutes} min"
        if minutes
        else f"{rest} s"
    )
