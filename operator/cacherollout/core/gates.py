"""Verdicts: one sequential test for every ratio, absolute guards for what both sides share.

A ratio gate is a capped CUSUM on Bernoulli counts with a baseline guard. Per tick, k bad of n on
the canary and k_b of n_b on the stable side:

    p0     = max(target, 1.25 * max(LCB(last five stable ticks), LCB(this stable tick)))
    p1     = the share halfway, in log-odds, between target and alert, moved along with p0
    llr(q) = k ln(p1/q) + (n-k) ln((1-p1)/(1-q))
    canary_specific = max(0, canary_specific + llr(p0))    -> Fail at H: worse than stable as well
    absolute        = max(0, absolute + llr(target))       -> Hold at H: both sides are bad
    fine            = min(H, fine + llr(target))           -> Pass at -ln 1000, after the soak

Within the ticks that one hiccup of a pod can touch, the first two move by half of H at the most, up
or down: the other half has to come from outside of it. So no hiccup is conclusive, whatever its
strength and the interval; a canary that stays bad is found by the first tick that a hiccup cannot
reach; and one good moment does not end a hold that is deserved. The guard excuses what the stable
side shows too; the reset at zero finds a regression that begins late as fast as one that begins at
once. The ceiling of `fine` lets a release pass after a hold that it did not cause is over.
LCB(k, n) = max(0, k - 2 sqrt(k)) / n. Source and measured error rates: docs/explanation/gates.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from math import log, sqrt
from typing import Final

from cacherollout.api.ledger import Attempt, Counters, Evidence
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.counting import Tick

EVIDENCE: Final = round(log(4 * 720 / 1e-3), 3)
"""H. Of canaries that are exactly at their targets, with requests independent of one another, about
one in a thousand at the most is failed by any of four gates within 720 ticks: exp(-H) for each gate
and each tick that the sum may have begun at (Ville's inequality; union bound). That sums fall no
faster than they rise loosens it a little where they are above H/2 already.
720 ticks of 5 s, the default, are an hour: the default deadline, promotion and roll-back window. At
1 s they are 12 minutes, at 15 s three hours, and the bound grows with their number. Real noise is
not independent; what that does is measured: docs/explanation/gates.md.
Rounded so that its halves survive being stored."""
MOST_AT_ONCE: Final = EVIDENCE / 2
"""One hiccup moves no sum further."""
HICCUP: Final = 15.0
"""Seconds that a pod's restart, pause or lost connection lasts at the longest."""
UNPUNCTUAL: Final = 0.5
"""Seconds of a hiccup that may lie in one more tick unheeded, as ticks are not punctual."""
PASS: Final = log(1000)
TOLERANCE: Final = 1.25
BROKEN: Final = 0.9
"""Share of bad ones that the canary would have to exceed, above which it is not compared."""
WINDOW: Final = 5
SLOW_TARGET: Final = 0.05
"""A 95th percentile within the limit means: at most this share is slower than it."""
SLOW_ALERT: Final = 0.18
"""Share above the limit when the 95th percentile has reached the alert (log-normal latencies)."""


class Verdict(IntEnum):
    """What a gate thinks; the worst of all gates decides."""

    NOT_ASKED = 0
    PASS = 1
    UNDECIDED = 2
    NO_DATA = 3
    ERROR = 4
    HOLD = 5
    FAIL = 6

    @property
    def label(self) -> str:
        """The verdict as people read it: `NotAsked`, `NoData`, …."""
        return "".join(part.capitalize() for part in self.name.split("_"))


@dataclass(frozen=True, slots=True)
class Finding:
    """A gate's verdict with everything needed to explain it."""

    gate: str
    verdict: Verdict
    message: str
    value: str = ""
    target: str = ""
    evidence: float = 0.0
    """0…1: evidence against the canary, as a share of what is conclusive."""
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RatioGate:
    """`bad ÷ total` must stay below `target`; at `alert` something is certainly broken."""

    name: str
    noun: str
    """What is counted as bad, as a phrase for people."""
    target: float
    alert: float
    bad: Callable[[Counters], float]
    total: Callable[[Counters], float]

    def update(
        self, known: Evidence, canary: Counters, stable: Counters | None, seconds: float
    ) -> Evidence:
        """The evidence after one more tick; `stable` None: there is no side to compare with."""
        bad, seen = self.bad(canary), self.total(canary)
        base_bad = self.bad(stable) if stable else 0.0
        base_seen = self.total(stable) if stable else 0.0
        window_bad = (*known.baseline_bad, base_bad)[-WINDOW:]
        window_seen = (*known.baseline_total, base_seen)[-WINDOW:]
        before = _reach(known, seconds)
        known = replace(known, baseline_bad=window_bad, baseline_total=window_seen, before=before)
        if seen <= 0:
            return known
        bad = min(bad, seen)
        guard = max(
            proved_share(sum(window_bad), sum(window_seen)), proved_share(base_bad, base_seen)
        )
        floor = max(self.target, TOLERANCE * guard)
        step = sqrt(_odds(self.alert) / _odds(self.target))
        # Where nearly everything fails on the stable side, nothing can be worse than it.
        specific = _ratio(bad, seen, floor, step) if floor < BROKEN else 0.0
        plain = _ratio(bad, seen, self.target, step)
        return replace(
            known,
            canary_specific=_moved(
                known.canary_specific + specific, [entry[1] for entry in before]
            ),
            absolute=_moved(known.absolute + plain, [entry[2] for entry in before]),
            fine=round(min(known.fine + max(plain, -PASS / 2), EVIDENCE), 4),
            bad=known.bad + bad,
            total=known.total + seen,
        )

    def find(self, known: Evidence, *, is_soaked: bool, per_second: float) -> Finding:
        """The verdict that the evidence supports, in words."""
        share = known.bad / known.total if known.total else 0.0
        worst = max(known.canary_specific, known.absolute)
        eta = None
        if known.canary_specific >= EVIDENCE:
            verdict, text = Verdict.FAIL, f"{self.noun}, and the stable version does not show it"
        elif known.absolute >= EVIDENCE:
            verdict, text = Verdict.HOLD, f"{self.noun}, on the stable version as well"
        elif known.total <= 0:
            verdict, text = Verdict.NO_DATA, "nothing was counted on the canary yet"
        elif known.fine <= -PASS and worst < EVIDENCE / 2 and is_soaked:
            verdict, text = Verdict.PASS, f"{self.noun}; that is within the target"
        else:
            verdict, text = Verdict.UNDECIDED, f"{self.noun}; more evidence is needed"
            eta = self.eta(known, per_second)
        return Finding(
            gate=self.name,
            verdict=verdict,
            message=f"{known.bad:,.0f} of {known.total:,.0f} {text}",
            value=_percent(share),
            target=f"≤ {_percent(self.target)}",
            evidence=min(1.0, worst / EVIDENCE),
            eta_seconds=eta,
        )

    def eta(self, known: Evidence, per_second: float) -> float | None:
        """Seconds to a Pass at the present traffic, if the canary stays as good as it looks."""
        share = min(known.bad / known.total, self.target * 0.99) if known.total else 0.0
        drift = _ratio(share, 1.0, self.target, sqrt(_odds(self.alert) / _odds(self.target)))
        missing = known.fine + PASS
        if drift >= 0 or per_second <= 0:
            return None
        return max(0.0, missing / (-drift * per_second))


def ratio_gates(spec: CacheRolloutSpec) -> tuple[RatioGate, ...]:
    """The four ratio gates with the user's figures."""
    gates = spec.gates
    return (
        RatioGate(
            "cacheHitRate",
            "lookups missed the cache",
            1 - gates.cache_hit_rate.target,
            1 - gates.cache_hit_rate.alert,
            lambda c: c.misses,
            lambda c: c.lookups,
        ),
        RatioGate(
            "cacheErrorRate",
            "cache operations failed or met an unusable value",
            gates.cache_error_rate.target,
            gates.cache_error_rate.alert,
            lambda c: c.errors,
            lambda c: c.operations,
        ),
        RatioGate(
            "cacheLatency",
            f"cache operations took longer than {gates.cache_latency.p95 * 1000:g} ms",
            SLOW_TARGET,
            SLOW_ALERT,
            lambda c: c.slow,
            lambda c: c.timed,
        ),
        RatioGate(
            "httpErrorRate",
            "requests were answered with a 5xx status",
            gates.http_error_rate.target,
            gates.http_error_rate.alert,
            lambda c: c.failures,
            lambda c: c.requests,
        ),
    )


def gather(spec: CacheRolloutSpec, attempt: Attempt, tick: Tick) -> Attempt:
    """The attempt with one tick in the evidence of every ratio gate."""
    known = {item.name: item for item in attempt.evidence}
    has_stable = tick.stable.requests > 0 or tick.stable.operations > 0
    updated = tuple(
        gate.update(
            known.get(gate.name, Evidence(gate.name)),
            tick.canary,
            tick.stable if has_stable else None,
            tick.seconds,
        )
        for gate in ratio_gates(spec)
    )
    return replace(attempt, evidence=updated)


def _reach(known: Evidence, seconds: float) -> tuple[tuple[float, float, float], ...]:
    """What stood before this tick, and before those that the same hiccup can have touched."""
    reach = [(seconds, known.canary_specific, known.absolute)]
    since = 0.0
    for entry in reversed(known.before):
        if since >= HICCUP - UNPUNCTUAL:
            break
        reach.append(entry)
        since += entry[0]
    return tuple(reversed(reach))


def _moved(wanted: float, before: list[float]) -> float:
    """A sum, no further than `MOST_AT_ONCE` from where it stood within the reach of one hiccup."""
    lowest = max(0.0, max(before) - MOST_AT_ONCE)
    return round(max(lowest, min(wanted, min(before) + MOST_AT_ONCE)), 4)


def _odds(share: float) -> float:
    return share / (1 - share)


def proved_share(bad: float, seen: float) -> float:
    """The share of bad ones that is certain: LCB above. Only that may excuse, or hold, anything."""
    return max(0.0, bad - 2 * sqrt(bad)) / seen if seen > 0 else 0.0


def _ratio(bad: float, seen: float, floor: float, step: float) -> float:
    """Log-likelihood ratio of the test share against `floor`."""
    odds = _odds(floor) * step
    test = odds / (1 + odds)
    return bad * log(test / floor) + (seen - bad) * log((1 - test) / (1 - floor))


def _percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"
