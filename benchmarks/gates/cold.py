"""A canary on a cache of its own: what a simulated cache shows, and what the product says of it.

Look-aside, TTL from the fill, Zipf(1) over 200,000 keys, a tenth of the traffic on the canary; the
TTL is chosen so that stable alone finds 87 %. What is counted goes through the product's own
functions, `gather` and `judge`, which also decide whether the hit rate is asked about at all.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from benchmarks.gates.noise import STABLE_PER_CANARY, Array
from cacherollout.api.ledger import Counters
from cacherollout.core.counting import Tick
from cacherollout.core.gates import Verdict, gather
from cacherollout.core.judging import judge, worst
from tests.factories import FAMILY, NOW, SPEC, STABLE, on_trial, spec, trial

KEYS, HIT_RATE, BROKEN = 200_000, 0.87, 0.18
SHARES = 1 / np.arange(1, KEYS + 1) / (1 / np.arange(1, KEYS + 1)).sum()
REACHED = np.cumsum(SHARES)
INTERVAL, CHECK_TICKS, TARGET = 5.0, 12, 0.8
COLD = spec({**FAMILY, "warm": "None"})


@dataclass(frozen=True, slots=True)
class Cold:
    """What became of one canary."""

    failed: float
    """Seconds to the roll-back; infinity where there was none."""
    was_asked: bool
    """Whether the product judged the hit rate."""
    hit_rate: float
    """Of the canary's first minute."""
    failed_checks: int
    """Minutes in which its hit rate was below a fixed target of 80 %."""


def play(
    rng: np.random.Generator,
    per_second: float,
    seconds: float,
    *,
    is_mirrored: bool,
    broken: float = 0.0,
) -> Cold:
    """One canary of `per_second` lookups; `broken` is the share whose values it cannot read."""
    lookups, misses, base_lookups, base_misses = _counts(
        rng, per_second, seconds, is_mirrored=is_mirrored, broken=broken
    )
    asked = SPEC if is_mirrored else COLD
    attempt, failed, was_asked = on_trial(traffic_since=NOW), np.inf, False
    for tick in range(len(lookups)):
        now = NOW + (tick + 1) * INTERVAL
        canary = _counters(rng, lookups[tick], misses[tick])
        stable = _counters(rng, base_lookups[tick], base_misses[tick])
        attempt = replace(gather(asked, attempt, Tick(INTERVAL, canary, stable)), data_since=now)
        findings = judge(asked, attempt, trial(), STABLE, now)
        was_asked = findings[0].verdict is not Verdict.NOT_ASKED
        if worst(findings).verdict is Verdict.FAIL:
            failed = now - NOW
            break
    minutes = len(lookups) // CHECK_TICKS
    seen, hit = (
        side[: minutes * CHECK_TICKS].reshape(minutes, -1).sum(axis=1)
        for side in (lookups, lookups - misses)
    )
    return Cold(failed, was_asked, float(hit[0] / seen[0]), int((hit < TARGET * seen).sum()))


def _counts(
    rng: np.random.Generator,
    per_second: float,
    seconds: float,
    *,
    is_mirrored: bool,
    broken: float,
) -> tuple[Array, Array, Array, Array]:
    """Lookups and misses of both sides, tick by tick."""
    everybody = (1 + STABLE_PER_CANARY) * per_second
    ttl = _ttl(everybody)
    # Without a mirror the stable side's lookups fill nothing of the canary's.
    number = rng.poisson((everybody if is_mirrored else per_second) * seconds)
    times, keys = rng.uniform(0, seconds, number), np.searchsorted(REACHED, rng.random(number))
    part = 1 / (1 + STABLE_PER_CANARY) if is_mirrored else 1.0
    is_canary = rng.random(number) < part
    is_missed = _missed(times, keys, ttl, _copied(rng, everybody, ttl) if is_mirrored else None)
    is_missed |= is_canary & _unreadable(rng, broken)[keys]
    ticks = round(seconds / INTERVAL)
    place = (times // INTERVAL).astype(int)

    def per_tick(which: NDArray[np.bool_] | bool) -> Array:
        return np.bincount(place[np.broadcast_to(which, place.shape)], minlength=ticks).astype(
            float
        )

    lookups, misses = per_tick(is_canary), per_tick(is_canary & is_missed)
    if is_mirrored:
        return lookups, misses, per_tick(~is_canary), per_tick(~is_canary & is_missed)
    base = rng.poisson(STABLE_PER_CANARY * per_second * INTERVAL, ticks)
    return lookups, misses, base.astype(float), rng.binomial(base, 1 - HIT_RATE).astype(float)


@cache
def _ttl(per_second: float) -> float:
    """Seconds with which lookups at this rate find `HIT_RATE`; a key is filled once in it."""

    def excess(ttl: float) -> float:
        met = per_second * SHARES * ttl
        return float((SHARES * met / (1 + met)).sum()) - HIT_RATE

    return float(brentq(excess, 1e-3, 1e7))


def _copied(rng: np.random.Generator, per_second: float, ttl: float) -> Array:
    """When each key expires that stable holds at the begin; 0 where it holds none."""
    met = per_second * SHARES * ttl
    return np.where(rng.random(KEYS) < met / (1 + met), rng.uniform(0, ttl, KEYS), 0.0)


def _unreadable(rng: np.random.Generator, share: float) -> NDArray[np.bool_]:
    """Keys whose values the canary cannot read, so many that they get this share of lookups."""
    is_unreadable = np.zeros(KEYS, dtype=bool)
    if share == 0:
        return is_unreadable
    shuffled = rng.permutation(KEYS)
    is_unreadable[shuffled[: np.searchsorted(np.cumsum(SHARES[shuffled]), share)]] = True
    return is_unreadable


def _missed(
    times: Array, keys: NDArray[np.int_], ttl: float, expiries: Array | None
) -> NDArray[np.bool_]:
    """Which lookups miss: those that fill. From each fill straight to the next one of its key."""
    block = times.max() + ttl + 1
    order = np.argsort(keys * block + times)
    keys, moments = keys[order], (keys * block + times)[order]
    is_missed = np.zeros(len(times), dtype=bool)
    each = np.unique(keys)
    free = each * block + (expiries[each] if expiries is not None else 0.0)
    while len(each):
        fills = np.searchsorted(moments, free)
        is_filled = fills < len(moments)
        is_filled[is_filled] = keys[fills[is_filled]] == each[is_filled]
        each, fills = each[is_filled], fills[is_filled]
        is_missed[order[fills]] = True
        free = moments[fills] + ttl
    return is_missed


def _counters(rng: np.random.Generator, lookups: float, misses: float) -> Counters:
    """Everything but the hit rate is healthy."""
    number = int(lookups)
    return Counters(
        lookups=lookups,
        misses=misses,
        operations=lookups,
        errors=float(rng.binomial(number, 0.0005)),
        timed=lookups,
        slow=float(rng.binomial(number, 0.027)),
        requests=float(number // 2),
        failures=float(rng.binomial(number // 2, 0.0005)),
    )
