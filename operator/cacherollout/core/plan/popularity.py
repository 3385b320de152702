"""Which keys are asked for how often: Zipf's law, in buckets of neighbouring ranks.

Keys of nearly the same rank are asked for nearly equally often, so a model may treat them as one:
some seventy buckets stand for a billion keys. Pure arithmetic.
"""

from dataclasses import dataclass
from math import exp, expm1, log, pow  # noqa: A004  # floats, and typed as such
from typing import Final

_SINGLES: Final = 16
"""The first ranks differ most: each has a bucket of its own."""
_RATIO: Final = 1.3
"""Last rank ÷ first rank of the other buckets."""
_EXACT: Final = 64
"""Longest run of ranks that is summed one by one; longer ones are integrated."""
MOST_KEYS: Final = 10**12
"""More keys than this are not looked for when a hit rate is matched."""
_ROUNDING: Final = 1e-9
"""By how much sums of the same shares may differ: where writes remove keys faster than reads fill
them, every number of keys gives the same hit rate."""


@dataclass(frozen=True, slots=True)
class Popularity:
    """Buckets of keys, the hottest first."""

    keys: tuple[float, ...]
    """Number of keys in each."""
    weights: tuple[float, ...]
    """Share (0…1) of all lookups that asks for *one* key of each."""


def zipf(keys: int, skew: float) -> Popularity:
    """Popularity ~ 1 / rank ** skew over that many keys."""
    sizes, masses = [], []
    first = 1
    while first <= keys:
        last = first if first <= _SINGLES else min(keys, max(first, int(first * _RATIO)))
        sizes.append(float(last - first + 1))
        masses.append(_mass(first, last, skew))
        first = last + 1
    whole = sum(masses)
    return Popularity(
        tuple(sizes),
        tuple(mass / whole / size for mass, size in zip(masses, sizes, strict=True)),
    )


def _mass(first: int, last: int, skew: float) -> float:
    """Sum of rank ** -skew; long runs by the midpoint rule, whose error is below 1e-5 here."""
    if last - first < _EXACT:
        return sum(pow(rank, -skew) for rank in range(first, last + 1))
    low, high = first - 0.5, last + 0.5
    if abs(skew - 1) < 1e-9:
        return log(high / low)
    return (pow(high, 1 - skew) - pow(low, 1 - skew)) / (1 - skew)


def hit_rate(popularity: Popularity, per_second: float, ttl: float, writes: float = 0.0) -> float:
    """Hit rate of a look-aside cache whose keys live `ttl` seconds from their fill.

    A key that is asked for l times a second is missed l / (1 + l · life) times: it waits 1 / l for
    its fill, then lives for `ttl`, or until one of its m writes a second removes it, which is
    (1 - exp(-m · ttl)) / m on average (exact for independent requests).
    """
    missed = 0.0
    for size, weight in zip(popularity.keys, popularity.weights, strict=True):
        loss = writes * weight
        lives = -expm1(-loss * ttl) / loss if loss > 0 else ttl
        missed += size * weight / (1 + per_second * weight * lives)
    return 1 - missed


def fitting(rate: float, *, skew: float, per_second: float, ttl: float, writes: float = 0.0) -> int:
    """The number of keys that gives this hit rate (0…1).

    Raises ValueError where no number up to MOST_KEYS does: one key alone is missed too often, or
    even the most keys are hit more often.
    """
    low, high = 0.0, log(MOST_KEYS)

    def at(size: float) -> float:
        return hit_rate(zipf(round(exp(size)), skew), per_second, ttl, writes)

    if not at(high) - _ROUNDING <= rate <= at(low) + _ROUNDING:
        raise ValueError(
            f"no number of keys gives a hit rate of {rate:.2%} at {per_second:g} lookups/s, a TTL of "
            f"{ttl:g} s and a skew of {skew:g}: it is between {at(high):.2%} and {at(low):.2%}"
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle) > rate else (low, middle)
    return round(exp(low))
