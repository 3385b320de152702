"""How many pods are admitted: never more than the origin can bear, never fractions."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacherollout.core.ramp import (
    STEP_SECONDS,
    first_step,
    may_roll,
    most,
    next_step,
    safe_increase,
)
from tests.factories import FAMILY, NOW, REPLAYED, on_trial, spec, traffic

SPEC = spec(canary={"replicas": "10%", "maxReplicas": "50%"})
COLD = traffic(lookups=400, misses=120, origin=120)
"""A canary with a sixth of the traffic and a hit rate of 70 %."""


@pytest.mark.parametrize(
    ("replicas", "stable", "pods"),
    [("10%", 1, 1), ("10%", 20, 2), ("10%", 21, 3), (3, 20, 3), (3, 2, 1), ("50%", 3, 2)],
)
def test_the_first_step_is_a_whole_number_within_the_most(
    replicas: str | int, stable: int, pods: int
) -> None:
    assert first_step(spec(canary={"replicas": replicas}), stable) == pods


def test_before_anybody_is_admitted_the_first_step_is_next() -> None:
    assert next_step(SPEC, on_trial(admitted=0), 20, NOW).admitted == 2


def test_at_the_most_nobody_more_is_admitted() -> None:
    assert most(SPEC, 4) == 2
    step = next_step(SPEC, on_trial(admitted=2), 4, NOW)
    assert (step.admitted, step.waiting_for) == (2, "")


def test_a_step_takes_its_time() -> None:
    young = on_trial(admitted_at=NOW - STEP_SECONDS + 4)
    step = next_step(SPEC, young, 10, NOW)
    assert (step.admitted, step.waiting_for) == (1, "+1 pod in 4 s")
    slow = spec(canary={"maxReplicas": "50%"}, metrics={"interval": "20s"})
    assert next_step(slow, on_trial(admitted_at=NOW - 30), 10, NOW).admitted == 1


def test_where_it_costs_nothing_one_pod_more_is_admitted() -> None:
    free = on_trial(
        stable_traffic=traffic(), canary_traffic=traffic(lookups=100, misses=5, origin=0)
    )
    assert safe_increase(SPEC, free) == inf
    assert next_step(SPEC, free, 10, NOW).admitted == 2


def test_the_safe_increase_follows_the_formula() -> None:
    stable = traffic(lookups=1600, misses=80, origin=80)
    now = on_trial(
        stable_traffic=stable, canary_traffic=traffic(lookups=400, misses=100, origin=45)
    )
    # Room of 25 a second; each share of 2,000 lookups would miss a fifth more.
    assert safe_increase(SPEC, now) == pytest.approx(25 / 400)
    assert next_step(SPEC, now, 10, NOW).is_over_budget
    assert next_step(SPEC, now, 30, NOW).admitted == 2


def test_over_the_budget_nobody_more_is_admitted() -> None:
    now = on_trial(stable_traffic=traffic(), canary_traffic=COLD)
    assert safe_increase(SPEC, now) == 0
    step = next_step(SPEC, now, 10, NOW)
    assert (step.admitted, step.is_over_budget) == (1, True)
    assert "no room" in step.waiting_for


def test_without_a_baseline_nobody_more_is_admitted() -> None:
    assert safe_increase(SPEC, on_trial(baseline_origin=None)) == 0
    assert safe_increase(SPEC, on_trial(baseline_ticks=1)) == 0


def test_without_lookups_nothing_is_known_to_cost() -> None:
    silent = traffic(lookups=0, origin=0)
    assert safe_increase(SPEC, on_trial(stable_traffic=silent, canary_traffic=silent)) == inf


@given(
    lookups=st.floats(1, 1e6),
    share=st.floats(0.01, 0.5),
    stable_hits=st.floats(0.5, 0.999),
    gap=st.floats(0.001, 0.5),
    load=st.floats(0.5, 1.49),
    pods=st.integers(2, 400),
)
def test_the_predicted_load_of_a_step_stays_within_the_budget(
    lookups: float, share: float, stable_hits: float, gap: float, load: float, pods: int
) -> None:
    base = max(1.0, lookups * (1 - stable_hits))
    stable = traffic(
        lookups=lookups * (1 - share),
        misses=lookups * (1 - share) * (1 - stable_hits),
        origin=load * base,
    )
    canary = traffic(
        lookups=lookups * share, misses=lookups * share * (1 - stable_hits + gap), origin=0
    )
    now = on_trial(baseline_origin=base, stable_traffic=stable, canary_traffic=canary)
    step = next_step(SPEC, now, pods, NOW)
    if step.admitted > 1:
        moved = 1 / (pods + 1)
        assert load * base + moved * lookups * gap <= 1.5 * base * (1 + 1e-6)


@pytest.mark.parametrize(
    ("load", "is_paced", "may"),
    [
        (1.49, False, True),
        (1.51, False, False),
        (1.40, True, False),
        (1.34, True, True),
        (None, False, True),
    ],
)
def test_a_rolling_update_waits_for_the_origin_with_a_margin(
    load: float | None, is_paced: bool, may: bool
) -> None:
    now = on_trial(
        is_paced=is_paced,
        baseline_origin=100.0 if load else None,
        stable_traffic=traffic(origin=100 * (load or 0)),
    )
    assert may_roll(SPEC, now) is may


def test_the_budget_goes_by_how_families_are_filled() -> None:
    assert spec(FAMILY).budget() == 1.5
    assert spec(FAMILY, REPLAYED).budget() == 2.0
    assert spec(FAMILY, originLoad={"budget": 1.2}).budget() == 1.2
