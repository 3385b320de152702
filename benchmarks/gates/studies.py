"""The trials behind the published figures: which canaries, how many, and what became of them.

A study is reproducible by itself: its random numbers depend on its own settings and `SEED` only.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from benchmarks.gates import others, twin
from benchmarks.gates.figures import Delay, Share
from benchmarks.gates.noise import REALISTIC, Array, Counts, Quality, Weather, observe
from benchmarks.gates.twin import PRODUCT, Ends, Rule
from cacherollout.core.gates import ratio_gates
from tests.factories import SPEC

SEED = 5
CHUNK = 2_000
RATIOS = ratio_gates(SPEC)
HEALTHY = Quality()
MARGINAL = Quality(misses=0.18, errors=0.0008, p95_ms=9.0, failures=0.0008)
REGRESSIONS: Mapping[str, Quality] = {
    "cache errors 1 %": replace(HEALTHY, errors=0.01),
    "hit rate 15 points lower": replace(HEALTHY, misses=0.30),
    "p95 × 5": replace(HEALTHY, stuck=0.077),
    "HTTP 5xx 1 %": replace(HEALTHY, failures=0.01),
}
RATES = (10, 100, 1000)
INTERVALS = (5, 15)
CANARY_SECONDS, DEADLINE_SECONDS = 600.0, SPEC.deadline
ONSET_SECONDS = 300.0
HICCUP_RUN_SECONDS = 300.0
SHARED_SECONDS = 720.0
STRENGTHS = (0.02, 0.1, 0.5)
"""Share of the canary's operations that fail during a hiccup."""
THIRD = Rule("a third a scrape", inf, lambda _: 1 / 3)
BY_TIME = Rule("a third, and 22 s at the least", inf, lambda seconds: min(1 / 3, seconds / 22))
TWO_THIRDS = Rule("two thirds a hiccup", 0.67, lambda _: 1 / 3)
RULES = (THIRD, BY_TIME, TWO_THIRDS, PRODUCT)
Done = Callable[[int], None]
"""Told how many runs × ticks are finished."""


@dataclass(frozen=True, slots=True)
class Study:
    """Canaries of one kind, beside a stable version of one kind."""

    name: str
    weather: Weather
    canary: Quality = HEALTHY
    stable: Quality = HEALTHY
    before: Quality | None = None
    soak: float = SPEC.soak
    rules: tuple[Rule, ...] = (PRODUCT,)

    @property
    def work(self) -> int:
        """Runs × ticks."""
        return self.weather.runs * self.weather.ticks


@dataclass(frozen=True, slots=True)
class Outcome:
    """What each rule made of a study's canaries."""

    study: Study
    ends: Mapping[str, Ends]
    others: Mapping[str, Array]
    began: Array

    @property
    def product(self) -> Ends:
        return self.ends[PRODUCT.name]

    def failed(self, rule: Rule = PRODUCT) -> Share:
        return share(np.isfinite(self.ends[rule.name].failed))

    def delay(self, rule: Rule = PRODUCT) -> Delay:
        """From the moment the canary went bad; one aborted before that counts as missed."""
        return Delay(_since(self.ends[rule.name].failed, self.began))

    def aborted_by(self, other: str) -> Share:
        return share(np.isfinite(self.others[other]))

    def delay_of(self, other: str) -> Delay:
        return Delay(_since(self.others[other], self.began))


def share(is_so: np.ndarray) -> Share:
    return Share(int(is_so.sum()), len(is_so))


def run(study: Study, done: Done = lambda _: None) -> Outcome:
    """Play a study, chunk by chunk, with random numbers of its own."""
    ends: dict[str, list[Ends]] = {rule.name: [] for rule in study.rules}
    rivals: dict[str, list[Array]] = {name: [] for name in others.FAILURES}
    began = []
    for counts in _chunks(study):
        interval = study.weather.interval
        for rule in study.rules:
            ends[rule.name].append(twin.end(RATIOS, counts, interval, study.soak, rule))
        for name, failures in others.FAILURES.items():
            rivals[name].append(others.aborted(RATIOS, counts, interval, failures))
        began.append(counts.began)
        done(counts.bad.shape[1] * counts.bad.shape[2])
    return Outcome(
        study,
        {name: _joined(parts) for name, parts in ends.items()},
        {name: np.concatenate(parts) for name, parts in rivals.items()},
        np.concatenate(began),
    )


def false_aborts(runs: int) -> list[Study]:
    """Healthy and marginal canaries of ten minutes."""
    return [
        Study(
            name,
            Weather(runs, CANARY_SECONDS, rate, interval),
            quality,
            quality,
            rules=_rules(interval),
        )
        for interval in INTERVALS
        for name, quality in (("healthy", HEALTHY), ("marginal", MARGINAL))
        for rate in RATES
    ]


def regressions(runs: int) -> list[Study]:
    """Canaries that are bad from the begin, until the deadline."""
    return [
        Study(
            name, Weather(runs, DEADLINE_SECONDS, rate, interval), quality, rules=_rules(interval)
        )
        for interval in INTERVALS
        for name, quality in REGRESSIONS.items()
        for rate in RATES
    ]


def late_regressions(runs: int) -> list[Study]:
    """Canaries that go bad in their sixth minute; judging goes on after a Pass, so none passes."""
    return [
        Study(
            name,
            Weather(runs, 2 * ONSET_SECONDS, rate, interval, ONSET_SECONDS),
            quality,
            before=HEALTHY,
            soak=inf,
        )
        for interval in INTERVALS
        for name, quality in REGRESSIONS.items()
        for rate in RATES[1:]
    ]


def shared_degradations(runs: int) -> list[Study]:
    """Both sides go bad together, as when the canary overloads what they share."""
    return [
        Study(name, Weather(runs, SHARED_SECONDS, rate, interval), quality, quality)
        for interval in INTERVALS
        for name, quality in REGRESSIONS.items()
        for rate in RATES
    ]


def hiccups(runs: int) -> list[Study]:
    """Healthy canaries with one hiccup each."""
    return [
        Study(
            f"hiccup of {100 * strength:g} %",
            Weather(
                runs,
                HICCUP_RUN_SECONDS,
                100,
                interval,
                noise=replace(REALISTIC, is_certain=True, hiccup=strength),
            ),
            rules=RULES,
        )
        for interval in (2, 5, 10, 15)
        for strength in STRENGTHS
    ]


def pooled(shares: Sequence[Share]) -> Share:
    return Share(sum(each.count for each in shares), sum(each.of for each in shares))


def _rules(interval: float) -> tuple[Rule, ...]:
    """All of them where they differ and are compared."""
    return RULES if interval == INTERVALS[0] else (PRODUCT,)


def _chunks(study: Study) -> Iterator[Counts]:
    weather = study.weather
    label = f"{study.name} {weather.per_second} {weather.interval} {weather.seconds}"
    left, number = weather.runs, 0
    while left > 0:
        size = min(left, CHUNK)
        rng = np.random.default_rng([SEED, zlib.crc32(label.encode()), number])
        part = replace(weather, runs=size)
        yield observe(rng, part, study.canary, study.stable, study.before)
        left, number = left - size, number + 1


def _joined(parts: Sequence[Ends]) -> Ends:
    names = ("failed", "passed", "held", "given_up")
    return Ends(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _since(moments: Array, began: Array) -> Array:
    return np.where(moments > began, moments - began, inf)
