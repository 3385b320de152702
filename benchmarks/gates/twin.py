"""The product's gates over many runs at once, and how their verdicts end a canary.

A twin in numpy of `RatioGate.update` and `find`, and of what `core.trial` makes of the verdicts.
The product is the truth: a test compares the two tick by tick. Figures come from the product.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.gates.noise import Array, Counts
from cacherollout.core import gates
from cacherollout.core.gates import RatioGate, Verdict
from cacherollout.core.holds import HOLD_SECONDS


@dataclass(frozen=True, slots=True)
class Rule:
    """How much of the evidence may come at once, as shares of what is conclusive."""

    name: str
    stretch: float
    """From all ticks that one hiccup can touch, in either direction."""
    tick: Callable[[float], float] = lambda _: 1.0
    """From one tick of so many seconds."""


PRODUCT = Rule("the product's", gates.MOST_AT_ONCE / gates.EVIDENCE)


class Twin:
    """The evidence of every gate in every run; arrays are (gates, runs)."""

    def __init__(self, ratios: tuple[RatioGate, ...], runs: int, rule: Rule = PRODUCT) -> None:
        self.target = np.array([[gate.target] for gate in ratios])
        self.alert = np.array([[gate.alert] for gate in ratios])
        self.step = np.sqrt(_odds(self.alert) / _odds(self.target))
        self.rule = rule
        size = (len(ratios), runs)
        self.specific, self.absolute, self.fine = np.zeros(size), np.zeros(size), np.zeros(size)
        self.total = np.zeros(size)
        self.window: list[tuple[Array, Array]] = []
        self.before: list[tuple[float, Array, Array]] = []

    def update(
        self, bad: Array, seen: Array, base_bad: Array, base_seen: Array, seconds: float
    ) -> None:
        """One more tick."""
        self.window = [*self.window, (base_bad, base_seen)][-gates.WINDOW :]
        lately = [np.sum(column, axis=0) for column in zip(*self.window, strict=True)]
        guard = np.maximum(_proved(lately[0], lately[1]), _proved(base_bad, base_seen))
        floor = np.maximum(self.target, gates.TOLERANCE * guard)
        # Shares from which nothing is compared any more would have no logarithm.
        moved = np.minimum(floor, gates.BROKEN)
        specific = np.where(floor < gates.BROKEN, _ratio(bad, seen, moved, self.step), 0.0)
        plain = _ratio(bad, seen, self.target, self.step)
        self._begin(seconds)
        most = gates.EVIDENCE * self.rule.tick(seconds)
        after = (
            self._moved(1, self.specific + np.minimum(specific, most)),
            self._moved(2, self.absolute + np.minimum(plain, most)),
            np.minimum(self.fine + np.maximum(plain, -gates.PASS / 2), gates.EVIDENCE),
        )
        is_seen = seen > 0
        self.specific, self.absolute, self.fine = (
            np.where(is_seen, np.round(new, 4), old)
            for new, old in zip(after, (self.specific, self.absolute, self.fine), strict=True)
        )
        self.total += seen

    def _begin(self, seconds: float) -> None:
        """Keep what stood before this tick and before those that the same hiccup can touch."""
        entries = [*self.before, (seconds, self.specific, self.absolute)]
        age, first = 0.0, len(entries) - 1
        while first > 0 and age < gates.HICCUP - gates.UNPUNCTUAL:
            first -= 1
            age += entries[first][0]
        self.before = entries[first:]

    def _moved(self, side: int, wanted: Array) -> Array:
        past = np.stack([entry[side] for entry in self.before])
        most = gates.EVIDENCE * self.rule.stretch
        lowest = np.maximum(0.0, past.max(axis=0) - most)
        return np.asarray(np.maximum(np.minimum(wanted, past.min(axis=0) + most), lowest))

    def verdicts(self, *, is_soaked: bool) -> Array:
        """A verdict for every gate and run, as the numbers of `Verdict`."""
        worst = np.maximum(self.specific, self.absolute)
        is_fine = (self.fine <= -gates.PASS) & (worst < gates.EVIDENCE / 2) & is_soaked
        return np.select(
            [
                self.specific >= gates.EVIDENCE,
                self.absolute >= gates.EVIDENCE,
                self.total <= 0,
                is_fine,
            ],
            [Verdict.FAIL, Verdict.HOLD, Verdict.NO_DATA, Verdict.PASS],
            Verdict.UNDECIDED,
        )


@dataclass(frozen=True, slots=True)
class Ends:
    """When each run was decided, in seconds from its begin; infinity where it was not."""

    failed: Array
    """Rolled back: a gate failed."""
    passed: Array
    """May be promoted: every gate passed."""
    held: Array
    """Held for the first time."""
    given_up: Array
    """Rolled back: both sides were bad for too long."""


def end(
    ratios: tuple[RatioGate, ...],
    counts: Counts,
    interval: float,
    soak: float,
    rule: Rule = PRODUCT,
) -> Ends:
    """Play every run through, until its first decision that ends the trial."""
    _, ticks, runs = counts.bad.shape
    twin = Twin(ratios, runs, rule)
    failed, passed, held, given_up = (np.full(runs, np.inf) for _ in range(4))
    since = np.full(runs, np.inf)
    is_open = np.ones(runs, dtype=bool)
    for tick in range(ticks):
        now = (tick + 1) * interval
        twin.update(
            counts.bad[:, tick],
            counts.seen[:, tick],
            counts.base_bad[:, tick],
            counts.base_seen[:, tick],
            interval,
        )
        worst = twin.verdicts(is_soaked=now >= soak).max(axis=0)
        is_held = worst == Verdict.HOLD
        since = np.where(is_held, np.minimum(since, now), np.inf)
        held = np.where(is_open & is_held, np.minimum(held, now), held)
        is_sick = is_held & (now - since >= HOLD_SECONDS)
        for when, is_so in (
            (failed, worst == Verdict.FAIL),
            (passed, worst <= Verdict.PASS),
            (given_up, is_sick),
        ):
            when[is_open & is_so] = now
            is_open &= ~is_so
        if not is_open.any():
            break
    return Ends(failed, passed, held, given_up)


def _odds(share: Array) -> Array:
    return share / (1 - share)


def _proved(bad: Array, seen: Array) -> Array:
    certain = np.maximum(0.0, bad - 2 * np.sqrt(bad))
    return np.asarray(np.divide(certain, seen, out=np.zeros_like(certain), where=seen > 0))


def _ratio(bad: Array, seen: Array, floor: Array, step: Array) -> Array:
    odds = _odds(floor) * step
    test = odds / (1 + odds)
    return np.asarray(bad * np.log(test / floor) + (seen - bad) * np.log((1 - test) / (1 - floor)))
