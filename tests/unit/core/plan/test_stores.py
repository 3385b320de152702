"""Namespaces: nothing is lost, nothing is invented, and the mirror does what the real one does."""

import heapq
import random
from bisect import bisect
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacherollout.core.plan.layers import Layer, Lifetime
from cacherollout.core.plan.popularity import zipf
from cacherollout.core.plan.stores import Apart, Linked, Namespaces, Population

populations = st.builds(
    lambda keys, skew, lookups, ttl, writes: Population(
        "any", zipf(keys, skew), lookups, ttl, writes=writes
    ),
    st.integers(1, 10**7),
    st.floats(0.3, 1.6),
    st.floats(0.01, 1e5),
    st.floats(5, 600),
    st.sampled_from([0.0, 1.0, 100.0]),
)
shares = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def copied_apart(population: Population, age: int = 0) -> Apart:
    namespaces = Apart(population)
    namespaces.copy(age)
    return namespaces


def kinds(population: Population) -> list[Namespaces]:
    copied = Linked(population, is_copied=True)
    copied.copy_keys(1e12)
    return [
        Apart(population),
        copied_apart(population),
        Linked(population, is_copied=False),
        copied,
    ]


@settings(max_examples=60, deadline=None)
@given(populations, shares)
def test_hits_and_misses_make_up_the_lookups_of_either_version(
    population: Population, course: list[float]
) -> None:
    for namespaces in kinds(population):
        for share in course:
            flow = namespaces.advance(share)
            assert flow.old_lookups + flow.new_lookups == pytest.approx(population.lookups)
            assert -1e-9 <= flow.old_misses <= flow.old_lookups * (1 + 1e-9) + 1e-9
            assert -1e-9 <= flow.new_misses <= flow.new_lookups * (1 + 1e-9) + 1e-9
            assert 0 <= flow.hit_rate <= 1 + 1e-9
            assert all(keys >= -1e-6 for keys in namespaces.sizes())


@settings(max_examples=40, deadline=None)
@given(populations, shares)
def test_a_key_is_filled_removed_expired_or_still_there(
    population: Population, course: list[float]
) -> None:
    """What came in and is not there any more has expired: never less than nothing."""
    layer = Layer(population.popularity.weights, population.lifetime)
    came = [0.0] * len(population.popularity.keys)
    for share in course:
        change = layer.advance(population.lookups * share)
        came = [a + b for a, b in zip(came, change.fills, strict=True)]
        for filled, present in zip(came, layer.present, strict=True):
            assert present <= filled + 1e-9
            if len(course) < population.lifetime.early:
                assert present == pytest.approx(filled, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(populations)
def test_what_is_steady_stays_as_it_is(population: Population) -> None:
    for namespaces in (Apart(population), Linked(population, is_copied=False)):
        first = namespaces.advance(0.0).old_misses
        for _ in range(40):
            assert namespaces.advance(0.0).old_misses == pytest.approx(first, rel=1e-6, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(populations)
def test_a_warm_copy_never_costs_more_than_a_cold_start(population: Population) -> None:
    warm, cold = copied_apart(population), Apart(population)
    peaks = [max(each.advance(1.0).misses for _ in range(40)) for each in (warm, cold)]
    assert peaks[0] <= peaks[1] * (1 + 1e-9)
    assert peaks[0] <= Apart(population).advance(0.0).misses * (1 + 1e-6)


def test_a_copy_that_took_long_has_aged() -> None:
    population = Population("any", zipf(10_000, 1.0), 2000.0, 60.0)
    normal = Apart(population).advance(0.0).misses
    peaks = [copied_apart(population, age).advance(1.0).misses / normal for age in (0, 10, 70)]
    assert peaks[0] == pytest.approx(1.0)
    assert peaks[0] + 0.1 < peaks[1] < peaks[2]
    assert peaks[2] == pytest.approx(Apart(population).advance(1.0).misses / normal)


def test_everything_that_was_filled_expires_after_its_ttl() -> None:
    layer = Layer((1.0,), Lifetime.of(20.0))
    layer.advance(1000.0)
    present = [(layer.advance(0.0), layer.present[0])[1] for _ in range(30)]
    assert present[15] == pytest.approx(1.0)
    assert 0.1 < present[19] < 0.9
    assert present[22] == pytest.approx(0.0, abs=1e-9)


def test_writes_cost_hits() -> None:
    keys = zipf(1000, 1.0)
    calm, busy = (Population("any", keys, 500.0, 60.0, writes=writes) for writes in (0.0, 100.0))
    assert Apart(busy).advance(0.0).misses > 1.5 * Apart(calm).advance(0.0).misses


def test_a_copied_family_costs_only_what_the_canary_fills_alone() -> None:
    """Moved at once, it costs nothing; while both serve, what one filled the other misses once."""
    population = Population("any", zipf(10_000, 1.0), 2000.0, 60.0)
    normal = Apart(population).advance(0.0).misses

    def ratio(share: float, *, is_copied: bool) -> float:
        family = Linked(population, is_copied=is_copied)
        family.copy_keys(1e9)
        return [family.advance(share).misses for _ in range(200)][-1] / normal

    assert ratio(1.0, is_copied=True) == pytest.approx(1.0)
    assert 1.0 < ratio(0.1, is_copied=True) < 1.1
    assert ratio(0.1, is_copied=True) < ratio(0.1, is_copied=False) < 2


def test_replaying_takes_the_hottest_first_and_costs_a_load_each() -> None:
    population = Population("any", zipf(100_000, 1.0), 5000.0, 300.0)
    family = Linked(population, is_copied=False)
    before = family.coverage()
    family.replay_keys(500)
    assert family.advance(0.0).replayed == pytest.approx(500)
    assert family.advance(0.0).replayed == 0
    assert before == pytest.approx(0.0)
    assert family.coverage() == pytest.approx(0.05, abs=0.002)
    warm = family.advance(0.01)
    cold = Linked(population, is_copied=False).advance(0.01)
    assert warm.new_misses < 0.6 * cold.new_misses


class Drawn:
    """The same two namespaces with every request drawn, as the mirror's rules have them."""

    def __init__(self, *, keys: int, lookups: float, ttl: float, is_copied: bool) -> None:
        self.random = random.Random(7)  # noqa: S311  # a simulation
        weights = [1 / rank for rank in range(1, keys + 1)]
        self.bounds = [each / sum(weights) for each in accumulate(weights)]
        self.lookups, self.ttl, self.is_copied = lookups, ttl, is_copied
        self.present: tuple[set[int], set[int]] = (set(), set())
        self.expiries: list[tuple[float, int]] = []
        self.now = 0.0

    def run(self, seconds: float, share: float) -> float:
        """Loads per second."""
        loads, end = 0, self.now + seconds
        while self.now < end:
            self.now += self.random.expovariate(self.lookups)
            while self.expiries and self.expiries[0][0] <= self.now:
                key = heapq.heappop(self.expiries)[1]
                for side in self.present:  # an expiry through either removes both
                    side.discard(key)
            key, side = bisect(self.bounds, self.random.random()), self.random.random() < share
            mine, other = self.present[side], self.present[not side]
            if key in mine:
                continue
            loads += 1
            if key not in other:  # else it goes when the other's goes
                lives = self.ttl * self.random.uniform(0.9, 1.1)
                heapq.heappush(self.expiries, (self.now + lives, key))
            mine.add(key)
            if self.is_copied and not side:
                other.add(key)
        return loads / seconds


@pytest.mark.parametrize("is_copied", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_mirror_costs_what_a_drawn_one_costs(share: float, *, is_copied: bool) -> None:
    drawn = Drawn(keys=500, lookups=200.0, ttl=20.0, is_copied=is_copied)
    drawn.run(50, share)
    measured = drawn.run(300, share)
    population = Population("any", zipf(500, 1.0), 200.0, 20.0)
    family = Linked(population, is_copied=is_copied)
    family.copy_keys(1e9)
    expected = [family.advance(share).misses for _ in range(100)][-1]
    assert measured == pytest.approx(expected, rel=0.04)
