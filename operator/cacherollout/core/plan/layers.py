"""A fluid model of cached keys: how likely one key of each bucket is present, second by second.

Between two moments a key is filled at a rate that follows its lookups, removed at one that follows
its popularity, and expires a TTL after its fill, spread by JITTER, whatever is read meanwhile:

    dc/dt = lookups · (1 - c) + gains - losses · c - e
    e(t)  = (F(t - early) - F(t - late)) / (late - early) · exp(-losses of the TTL before t)

c is the probability that a key is present, F the fills per key so far. Over one step lookups, gains,
losses and e are constant, for which the solution is exact; no step is too long for a hot key.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import exp, expm1
from typing import Final, Self

JITTER: Final = 0.1
"""TTLs are spread by this share of themselves to either side, as applications do on purpose."""

Row = Sequence[float]
"""One figure per bucket."""
_SLOW: Final = 1e-9
"""Rate (1/s) below which a second brings a straight line: the balance would be too far to compute."""
_Pace = tuple[float, float, float, float]
"""Of one bucket: lookups, lookups and losses, the part of the way to the balance that a second goes,
and how far behind it that second is on average."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Whole seconds after a fill between which a key expires."""

    early: int
    late: int

    @classmethod
    def of(cls, ttl: float, jitter: float = JITTER) -> Self:
        """The lifetime of keys with that TTL (s); at least one second."""
        early = max(1, round(ttl * (1 - jitter)))
        return cls(early, max(early + 1, round(ttl * (1 + jitter))))

    @property
    def middle(self) -> float:
        """Mean time to live, in seconds."""
        return (self.early + self.late) / 2


@dataclass(frozen=True, slots=True)
class Change:
    """What one second did to a layer."""

    mean: Row
    """Presence, averaged over the second."""
    fills: Row
    """Fills per key."""


class Layer:
    """Presence of the keys of one namespace, or of one state of them; empty at first."""

    def __init__(self, weights: Row, lifetime: Lifetime) -> None:
        self._weights = weights
        self._lifetime = lifetime
        self.present: Row = [0.0] * len(weights)
        # What was filled (per key) and lost (per unit of popularity) until each moment. Before the
        # first moment both grew steadily.
        self._filled: list[list[float]] = [[0.0] * len(weights)]
        self._lost = [0.0]
        self._fill_rates: Row = [0.0] * len(weights)
        self._loss_rate = 0.0
        self._paced_for = (-1.0, -1.0)
        self._paced: list[_Pace] = []

    @classmethod
    def steady(cls, weights: Row, lifetime: Lifetime, lookups: float, losses: float = 0.0) -> Self:
        """As it is after a long time with that many lookups and losses per second."""
        layer = cls(weights, lifetime)
        layer._loss_rate = losses
        rates, present = [], []
        for weight in weights:
            reads, loss = lookups * weight, losses * weight
            # Seconds that a key lives, given that some are removed before they expire.
            lives = -expm1(-loss * lifetime.middle) / loss if loss > 0 else lifetime.middle
            rates.append(reads / (1 + reads * lives))
            present.append(rates[-1] * lives)
        layer._fill_rates, layer.present = rates, present
        return layer

    def copy(self) -> Self:
        """A layer with the same keys and their remaining TTLs."""
        return deepcopy(self)

    def advance(self, lookups: float, losses: float = 0.0, gains: Row | None = None) -> Change:
        """One second, with that many lookups and losses in it, and gains per key of each bucket."""
        self._lost.append(self._lost[-1] + losses)
        none: Row = [0.0] * len(self._weights)
        after, mean, fills = [], [], []
        for before, gain, expired, (reads, rate, part, lag) in zip(
            self.present, gains or none, self._expiring(), self._paces(lookups, losses), strict=True
        ):
            source = reads + gain - expired
            if rate > _SLOW:
                rest = source / rate
                gap = rest - before
                now, average = before + gap * part, rest - gap * lag
            else:
                now = before + source
                average = (before + now) / 2
            average = 0.0 if average < 0 else min(average, 1.0)
            after.append(0.0 if now < 0 else min(now, 1.0))
            mean.append(average)
            fills.append(reads * (1 - average) + gain)
        self.present = after
        self._filled.append([was + now for was, now in zip(self._filled[-1], fills, strict=True)])
        return Change(mean, fills)

    def _paces(self, lookups: float, losses: float) -> Sequence[_Pace]:
        """Rates of every bucket; mostly those of the second before."""
        if self._paced_for != (lookups, losses):
            self._paced_for = (lookups, losses)
            self._paced = []
            for weight in self._weights:
                reads = lookups * weight
                rate = reads + losses * weight
                part = -expm1(-rate)
                self._paced.append((reads, rate, part, part / rate if rate > 0 else 0.0))
        return self._paced

    def take(self, bucket: int, share: float) -> None:
        """Remove this share (0…1) of what is present in a bucket, whatever is left of its TTL."""
        kept = 1 - share
        self.present = [
            each * kept if at == bucket else each for at, each in enumerate(self.present)
        ]
        self._fill_rates = [
            each * kept if at == bucket else each for at, each in enumerate(self._fill_rates)
        ]
        for row in self._filled:
            row[bucket] *= kept

    def _expiring(self) -> Row:
        """Expiries per key in the second that ends now."""
        now = len(self._lost) - 1
        newest, oldest = (
            self._until(now - self._lifetime.early),
            self._until(now - self._lifetime.late),
        )
        width = self._lifetime.late - self._lifetime.early
        lost = self._lost[-1] - self._lost_until(now - self._lifetime.middle)
        if lost <= 0:
            return [max(0.0, a - b) / width for a, b in zip(newest, oldest, strict=True)]
        return [
            max(0.0, a - b) / width * exp(-lost * weight)
            for a, b, weight in zip(newest, oldest, self._weights, strict=True)
        ]

    def _until(self, moment: int) -> Row:
        """Fills per key until the middle of the second that ends at a moment which is over."""
        if moment > 0:
            ends = zip(self._filled[moment - 1], self._filled[moment], strict=True)
            return [(a + b) / 2 for a, b in ends]
        return [rate * (moment - 0.5) for rate in self._fill_rates]

    def _lost_until(self, moment: float) -> float:
        if moment < 0:
            return self._loss_rate * moment
        whole = int(moment)
        ahead = self._lost[min(whole + 1, len(self._lost) - 1)]
        return self._lost[whole] + (ahead - self._lost[whole]) * (moment - whole)
