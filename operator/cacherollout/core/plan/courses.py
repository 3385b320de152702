"""How a release went, second by second, and the figures that people compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Final

from cacherollout.core.plan.stores import Flow

WINDOW: Final = 10
"""Seconds over which load is averaged for the second of the two peaks."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One second."""

    share: float
    """Share (0…1) of the traffic that the new version took."""
    flow: Flow
    bytes: float
    """Memory of the keys of both versions."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person would want to know of; `at` in seconds from the start."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Course:
    """One way of releasing, and how it went."""

    name: str
    normal: float
    """Origin reads per second before the release."""
    samples: tuple[Sample, ...]
    """From the moment that the release was asked for."""
    budget: float | None = None
    """Load ÷ normal load that is allowed, or would be; None where nobody said."""
    events: tuple[Event, ...] = ()
    promoted_at: float | None = None
    """When the new version served everybody; None where it never did."""
    problem: str = ""
    """Why it never did."""

    @property
    def loads(self) -> tuple[float, ...]:
        """Origin reads per second ÷ normal, second by second."""
        return tuple(load(sample.flow) / self.normal for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a course comes down to. Loads are multiples of the normal load."""

    peak_1s: float
    peak_10s: float
    seconds_over: int
    """Seconds in which the mean load of the last ten was above the budget."""
    extra_seconds: float
    """Reads beyond normal, in seconds of normal load."""
    lowest_hit_rate: float
    """Of all lookups in a second."""
    lowest_new_hit_rate: float | None
    """Of the new version's lookups in a second; None where it got none."""
    most_bytes: float
    """Memory of the keys of both versions."""


def load(flow: Flow) -> float:
    """Origin reads of a second."""
    return flow.misses + flow.replayed


def figures(course: Course) -> Figures:
    """The figures of a course."""
    loads = course.loads
    means = rolling(loads, WINDOW)
    new = [
        1 - sample.flow.new_misses / sample.flow.new_lookups
        for sample in course.samples
        if sample.flow.new_lookups > 0
    ]
    return Figures(
        peak_1s=max(loads),
        peak_10s=max(means),
        seconds_over=sum(mean > course.budget for mean in means) if course.budget else 0,
        extra_seconds=sum(max(0.0, each - 1) for each in loads),
        lowest_hit_rate=min(sample.flow.hit_rate for sample in course.samples),
        lowest_new_hit_rate=min(new) if new else None,
        most_bytes=max(sample.bytes for sample in course.samples),
    )


def rolling(values: Sequence[float], window: int) -> list[float]:
    """Means over that many values; over all of them where there are fewer."""
    width = min(window, len(values))
    total = sum(values[:width])
    means = [total / width]
    for out, into in zip(values, values[width:], strict=False):
        total += into - out
        means.append(total / width)
    return means


def chance(normal: float, seconds: float, window: int = 1) -> float:
    """How far the highest of many windows lies above the mean by chance, as a share of it.

    Reads come independently, so a window of w seconds counts n · w of them give or take its root;
    the highest of k windows is about sqrt(2 ln k) such roots above the mean (normal approximation).
    """
    windows = max(2.0, seconds / window)
    return sqrt(2 * log(windows) / (normal * window)) if normal > 0 else 0.0
