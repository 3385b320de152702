"""The figures that a course comes down to, and the keys that a hit rate means."""

import inspect
from math import sqrt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cacherollout.cache import Hot
from cacherollout.core.plan.courses import Course, Sample, chance, figures, rolling
from cacherollout.core.plan.popularity import fitting, hit_rate, zipf
from cacherollout.core.plan.stores import REPLAYED_IDS, Flow


def a_course(*loads: float, budget: float | None = None) -> Course:
    """Loads as multiples of 10 reads a second, out of 100 lookups."""
    samples = tuple(Sample(0.0, Flow(100.0, 10 * load), 5.0) for load in loads)
    return Course("any", 10.0, samples, budget=budget)


def test_peaks_over_one_and_over_ten_seconds() -> None:
    found = figures(a_course(*[1.0] * 20, 3.0, *[1.0] * 20, budget=1.1))
    assert found.peak_1s == pytest.approx(3.0)
    assert found.peak_10s == pytest.approx(1.2)
    assert found.seconds_over == 10
    assert found.extra_seconds == pytest.approx(2.0)
    assert found.lowest_hit_rate == pytest.approx(0.7)
    assert found.lowest_new_hit_rate is None


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=50), st.integers(1, 20))
def test_means_are_means(values: list[float], window: int) -> None:
    width = min(window, len(values))
    means = rolling(values, window)
    assert means == pytest.approx(
        [sum(values[at : at + width]) / width for at in range(len(values) - width + 1)], abs=1e-9
    )


def test_chance_grows_with_windows_and_shrinks_with_reads() -> None:
    assert chance(100, 600) == pytest.approx(0.36, abs=0.01)
    assert chance(100, 600, 10) == pytest.approx(chance(100, 60) / sqrt(10))
    assert chance(0, 600) == 0


@pytest.mark.parametrize("keys", [1, 15, 17, 1000, 100_000])
@pytest.mark.parametrize("skew", [0.5, 1.0, 1.4])
def test_buckets_stand_for_every_key(keys: int, skew: float) -> None:
    found = zipf(keys, skew)
    assert sum(found.keys) == keys
    assert sum(n * w for n, w in zip(found.keys, found.weights, strict=True)) == pytest.approx(1)
    masses = [rank**-skew for rank in range(1, keys + 1)]
    first = 0
    for size, weight in zip(found.keys, found.weights, strict=True):
        own = sum(masses[first : first + int(size)])
        assert size * weight == pytest.approx(own / sum(masses), rel=1e-4)
        first += int(size)
    exact = sum(
        mass / sum_ * (1 - 1 / (1 + 500 * mass / sum_ * 60))
        for sum_ in [sum(masses)]
        for mass in masses
    )
    assert hit_rate(found, 500, 60) == pytest.approx(exact, abs=0.001)


def test_a_billion_keys_are_a_hundred_buckets() -> None:
    assert len(zipf(10**9, 1.0).keys) < 100


@example(54, 0.5, 10.0, 50.0)
@given(
    st.integers(10, 10**8), st.floats(0.5, 1.3), st.floats(10, 1e5), st.sampled_from([0.0, 50.0])
)
def test_a_hit_rate_gives_the_keys_back(
    keys: int, skew: float, lookups: float, writes: float
) -> None:
    rate = hit_rate(zipf(keys, skew), lookups, 120.0, writes)
    found = fitting(rate, skew=skew, per_second=lookups, ttl=120.0, writes=writes)
    again = hit_rate(zipf(found, skew), lookups, 120.0, writes)
    assert again == pytest.approx(rate, abs=0.002)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_hit_rate_that_cannot_be_is_refused_with_what_can(rate: float) -> None:
    with pytest.raises(ValueError, match="it is between"):
        fitting(rate, skew=1.0, per_second=100.0, ttl=60.0)


def test_as_many_ids_are_replayed_as_the_engine_looks_for() -> None:
    default = inspect.signature(Hot.__init__).parameters["top"].default
    assert default == REPLAYED_IDS
