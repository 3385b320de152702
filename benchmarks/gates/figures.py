"""Measured shares and medians with their 95 % intervals, and tables of them in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, binom

from benchmarks.gates.noise import Array

OUTSIDE = 0.05
"""Share of repetitions whose interval would miss the truth."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    count: int
    of: int

    @property
    def value(self) -> float:
        return self.count / self.of

    @property
    def bounds(self) -> tuple[float, float]:
        """Clopper-Pearson; exact for any count, zero included."""
        low = beta.ppf(OUTSIDE / 2, self.count, self.of - self.count + 1) if self.count else 0.0
        is_all = self.count == self.of
        high = 1.0 if is_all else beta.ppf(1 - OUTSIDE / 2, self.count + 1, self.of - self.count)
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.bounds
        span = f"{percent(low)}–{percent(high)}" if self.count else f"≤ {percent(high)}"
        return f"{self.short} ({self.count:,} of {self.of:,}; {span} %)"

    @property
    def short(self) -> str:
        """Without the interval."""
        return f"{percent(self.value)} %"


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds to a decision over many runs; infinity where there was none."""

    seconds: Array

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.seconds, share, method="higher"))

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the median, from order statistics: exact for any distribution."""
        ordered, number = np.sort(self.seconds), len(self.seconds)
        low = int(binom.ppf(OUTSIDE / 2, number, 0.5)) - 1
        high = int(binom.ppf(1 - OUTSIDE / 2, number, 0.5))
        return float(ordered[max(low, 0)]), float(ordered[min(high, number - 1)])

    @property
    def missed(self) -> Share:
        return Share(int(np.isinf(self.seconds).sum()), len(self.seconds))

    def __str__(self) -> str:
        low, high = self.bounds
        text = f"{whole(self.median)} ({low:.0f}–{high:.0f}); 95 % within "
        return f"{text}{whole(self.quantile(0.95))}"


def percent(share: float) -> str:
    """A share as a percentage with what matters of it."""
    digits = 2 if share < 0.1 else 3
    return np.format_float_positional(100 * share, digits, fractional=False, trim="-")


def whole(value: float) -> str:
    """Seconds without their fractions."""
    return "never" if np.isinf(value) else f"{value:.0f} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is aligned for eyes as well."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        return f"| {' | '.join(cells)} |"

    return "\n".join((line(head), line(["-" * width for width in widths]), *map(line, rows)))
