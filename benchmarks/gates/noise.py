"""What two versions count under realistic noise: the weather that gates are tried in.

Counts are Poisson and binomial around rates that wander (AR(1), log or logit scale), some together
for both sides and some each for itself. Twice in four hours the cache stumbles for 1-5 s, for both
sides; once in five hours a pod of the canary hiccups for 15 s, whatever the interval between
scrapes and at any moment within one. Latencies are log-normal. The model is that of the method's
first study, except that its hiccup lasted one scrape and there was no HTTP.

Arrays are (gates, ticks, runs), the gates in the order of `ratio_gates`.
"""

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import expit, logit, ndtr

Array = NDArray[np.float64]
STABLE_PER_CANARY = 9.0
REQUESTS_PER_OPERATION = 0.5
SIGMA = 0.8
"""Of the logarithm of a cache operation's latency."""
LIMIT_MS, STUCK_MS, STUCK_SIGMA = 10.0, 45.0, 0.3
FROM_P95 = 1.6449


@dataclass(frozen=True, slots=True)
class Quality:
    """What a version shows when it is at rest."""

    misses: float = 0.15
    errors: float = 0.0005
    p95_ms: float = 8.0
    stuck: float = 0.0
    """Share of cache operations that take about 45 ms; 7.7 % bring a p95 of 8 ms to 40 ms."""
    failures: float = 0.0005


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations and, per hour, accidents."""

    traffic: float = 0.3
    share: float = 0.1
    misses: tuple[float, float] = (0.10, 0.05)
    """Common to both sides, and each side's own; logit."""
    errors: tuple[float, float] = (0.3, 0.2)
    """The same for the logarithm of error shares."""
    latency: tuple[float, float] = (0.08, 0.05)
    stumbles: float = 0.5
    """Of the cache, both sides: 30 % more errors, 50 % more slow operations, for 1-5 s."""
    hiccups: float = 0.2
    """Of the canary alone: `hiccup` more errors, 10 % more slow operations, for 15 s."""
    hiccup: float = 0.10
    is_certain: bool = False
    """Exactly one hiccup in every run, instead of `hiccups` per hour."""


REALISTIC = Noise()
STUMBLE, STUMBLE_SLOW, HICCUP_SLOW = 0.30, 0.5, 0.1
STUMBLE_SECONDS = (1.0, 5.0)
HICCUP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Weather:
    """How many runs, for how long, at what traffic, and when the canary goes bad."""

    runs: int
    seconds: float
    per_second: float
    """Cache operations of the canary."""
    interval: float
    onset: float = 0.0
    """The canary is healthy until then, plus a random part of an interval."""
    noise: Noise = REALISTIC

    @property
    def ticks(self) -> int:
        return round(self.seconds / self.interval)


@dataclass(frozen=True, slots=True)
class Counts:
    """Bad ones and all, of both sides, tick by tick."""

    bad: Array
    seen: Array
    base_bad: Array
    base_seen: Array
    began: Array
    """Seconds at which each run's canary went bad."""


def observe(
    rng: np.random.Generator,
    weather: Weather,
    canary: Quality,
    stable: Quality,
    before: Quality | None = None,
) -> Counts:
    """Counts of a canary beside a stable version; `before`: its quality until the onset."""
    noise, size = weather.noise, (weather.ticks, weather.runs)
    level = np.exp(_wander(rng, weather, noise.traffic, 300) - noise.traffic**2 / 2)
    share = np.exp(_wander(rng, weather, noise.share, 60))
    mean = weather.per_second * weather.interval * level
    common = [
        _wander(rng, weather, each[0], 120)
        for each in (noise.misses, noise.errors, noise.latency, noise.errors)
    ]
    began = np.zeros(weather.runs)
    after = np.ones(size)
    if before is not None:
        began = weather.onset + rng.uniform(0, weather.interval, weather.runs)
        after = _overlap(weather, np.arange(weather.runs), began, np.full(weather.runs, np.inf))
    stumble = _accidents(rng, weather, noise.stumbles, STUMBLE_SECONDS)
    hiccup = _hiccups(rng, weather)
    bad, seen = _side(
        rng,
        weather,
        (canary, before or canary, after),
        mean * share,
        common,
        (STUMBLE * stumble, noise.hiccup * hiccup),
        STUMBLE_SLOW * stumble + HICCUP_SLOW * hiccup,
    )
    base_bad, base_seen = _side(
        rng,
        weather,
        (stable, stable, after),
        mean * STABLE_PER_CANARY,
        common,
        (STUMBLE * stumble,),
        STUMBLE_SLOW * stumble,
    )
    return Counts(bad, seen, base_bad, base_seen, began)


def _side(
    rng: np.random.Generator,
    weather: Weather,
    quality: tuple[Quality, Quality, Array],
    mean: Array,
    common: list[Array],
    failing: tuple[Array, ...],
    slow: Array,
) -> tuple[Array, Array]:
    now, before, after = quality
    noise = weather.noise

    def level(name: str) -> Array:
        old, new = getattr(before, name), getattr(now, name)
        return np.asarray(old + (new - old) * after)

    def own(deviations: tuple[float, float]) -> Array:
        return _wander(rng, weather, deviations[1], 60)

    def failures(name: str, shared: Array) -> Array:
        share = np.minimum(level(name) * np.exp(shared + own(noise.errors)), 1.0)
        for extra in failing:
            share += (1 - share) * extra
        return share

    median = np.log(level("p95_ms")) - FROM_P95 * SIGMA + common[2] + own(noise.latency)
    stuck = np.minimum(level("stuck") + slow, 1.0)
    is_slow = 1 - ndtr((log(LIMIT_MS) - median) / SIGMA)
    stuck_is_slow = 1 - ndtr(log(LIMIT_MS / STUCK_MS) / STUCK_SIGMA)
    shares = (
        expit(logit(level("misses")) + common[0] + own(noise.misses)),
        failures("errors", common[1]),
        (1 - stuck) * is_slow + stuck * stuck_is_slow,
        failures("failures", common[3]),
    )
    operations = rng.poisson(mean)
    requests = rng.poisson(mean * REQUESTS_PER_OPERATION)
    seen = (operations, operations, operations, requests)
    bad = [rng.binomial(total, share) for total, share in zip(seen, shares, strict=True)]
    return np.stack(bad).astype(float), np.stack(seen).astype(float)


def _wander(rng: np.random.Generator, weather: Weather, deviation: float, tau: float) -> Array:
    """Stationary AR(1) noise that forgets within about `tau` seconds."""
    if deviation == 0:
        return np.zeros((weather.ticks, weather.runs))
    memory = exp(-weather.interval / tau)
    shocks = rng.standard_normal((weather.ticks, weather.runs))
    shocks[0] /= sqrt(1 - memory**2)
    wandering = lfilter([deviation * sqrt(1 - memory**2)], [1.0, -memory], shocks, axis=0)
    return np.asarray(wandering)


def _accidents(
    rng: np.random.Generator, weather: Weather, per_hour: float, lasting: tuple[float, float]
) -> Array:
    """Share of each tick that lies within an accident; one may have begun before the run did."""
    span = weather.seconds + lasting[1]
    number = rng.poisson(per_hour / 3600 * span * weather.runs)
    start = rng.uniform(-lasting[1], weather.seconds, number)
    runs = rng.integers(0, weather.runs, number)
    return _overlap(weather, runs, start, start + rng.uniform(*lasting, number))


def _hiccups(rng: np.random.Generator, weather: Weather) -> Array:
    if not weather.noise.is_certain:
        return _accidents(rng, weather, weather.noise.hiccups, (HICCUP_SECONDS, HICCUP_SECONDS))
    start = rng.uniform(0, weather.seconds - HICCUP_SECONDS, weather.runs)
    return _overlap(weather, np.arange(weather.runs), start, start + HICCUP_SECONDS)


def _overlap(weather: Weather, runs: NDArray[np.int_], start: Array, end: Array) -> Array:
    opened = np.arange(weather.ticks)[:, None] * weather.interval
    within = np.minimum(end, opened + weather.interval) - np.maximum(start, opened)
    share = np.zeros((weather.runs, weather.ticks))
    np.add.at(share, runs, np.clip(within, 0, None).T / weather.interval)
    return np.minimum(share, 1.0).T
