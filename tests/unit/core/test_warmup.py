"""Which families are filled how, how fast, and when that is enough."""

from dataclasses import replace

import pytest

from cacherollout.core.actions import CopyWork, MirrorWork, ReplayWork, VerifyWork
from cacherollout.core.facts import CacheFacts, CoherenceFacts, WorkFacts
from cacherollout.core.warmup import (
    FamilyPlan,
    is_stable_failing,
    is_waiting_for_baseline,
    is_warm,
    plan_families,
    replay_rate,
    required_coverage,
    warm_works,
)
from tests.factories import FAMILY, RELEASE, REPLAYED, STABLE, attempt, on_trial, spec, traffic

COLD = {"name": "cold", "key": "cold:{version}:{id}", "warm": "None"}
SPEC = spec(FAMILY, REPLAYED, COLD)
PRINTS = SPEC.fingerprints()
NEW = replace(RELEASE, fingerprints=PRINTS)


def test_each_family_is_filled_as_it_says() -> None:
    plan = plan_families(SPEC, NEW, "v1", PRINTS)
    assert plan == FamilyPlan(copied=("user",), replayed=("list",), cold=("cold",))


def test_a_shared_namespace_needs_nothing() -> None:
    assert plan_families(SPEC, replace(NEW, version="v1"), "v1", PRINTS) == FamilyPlan()
    shared = attempt(release=replace(NEW, version="v1"))
    assert warm_works(SPEC, shared, STABLE, is_warming=True) == ()


@pytest.mark.parametrize("known", [{}, {"user": "another", "list": PRINTS["list"]}])
def test_values_of_another_or_unknown_schema_are_never_copied(known: dict[str, str]) -> None:
    assert plan_families(SPEC, NEW, "v1", known).cold == ("user", "cold")
    replayed = spec({**FAMILY, "replayPath": "/users/{id}"})
    assert plan_families(replayed, NEW, "v1", known).replayed == ("user",)


def test_a_family_that_is_new_in_the_spec_is_never_copied() -> None:
    assert plan_families(SPEC, replace(NEW, fingerprints={}), "v1", {}).copied == ()


def test_the_works_of_a_warm_up() -> None:
    now = attempt(release=NEW, baseline_ticks=2, baseline_origin=100.0)
    mirror, verify, copy, replay = warm_works(
        SPEC, now, replace(STABLE, fingerprints=PRINTS), is_warming=True
    )
    assert mirror == MirrorWork(("user",), ("list", "cold"), "v1", "v2")
    assert verify == VerifyWork("v2", 200)
    assert copy == CopyWork(("user",), "v1", "v2")
    assert replay == ReplayWork(("list",), "v1", "v2", coverage=0.8, per_second=80.0)


def test_replaying_waits_for_the_baseline() -> None:
    works = warm_works(SPEC, attempt(release=NEW), STABLE, is_warming=True)
    assert not any(isinstance(work, ReplayWork) for work in works)
    assert is_waiting_for_baseline(attempt())
    assert not is_waiting_for_baseline(on_trial())


def test_afterwards_only_mirror_and_samples_go_on() -> None:
    works = warm_works(SPEC, on_trial(release=NEW), STABLE, is_warming=False)
    assert {type(work) for work in works} == {MirrorWork, VerifyWork}


@pytest.mark.parametrize(
    ("hit_rate", "budget", "coverage"),
    [(0.9, 2.0, 0.8), (0.95, 1.5, 0.925), (0.5, 2.0, 0.0), (1.0, 1.05, 0.98), (0.2, 10.0, 0.0)],
)
def test_the_coverage_is_what_keeps_the_origin_within_its_budget(
    hit_rate: float, budget: float, coverage: float
) -> None:
    measured = on_trial(stable_traffic=traffic(lookups=1000, misses=1000 * (1 - hit_rate)))
    assert required_coverage(spec(originLoad={"budget": budget}), measured) == pytest.approx(
        coverage
    )


def test_an_unknown_hit_rate_is_assumed() -> None:
    assert required_coverage(SPEC, attempt()) == pytest.approx(0.8)


@pytest.mark.parametrize(("base", "rate"), [(0.0, 5.0), (None, 5.0), (100.0, 80.0), (1e6, 500.0)])
def test_replaying_takes_four_fifths_of_what_the_budget_leaves(
    base: float | None, rate: float
) -> None:
    assert replay_rate(SPEC, attempt(baseline_origin=base)) == rate


FAILING = {"requests": 100.0, "failures": 20.0}


@pytest.mark.parametrize(
    ("seen", "rate"),
    [
        ({"origin": 100.0}, 80.0),
        ({"origin": 150.0}, 40.0),
        ({"origin": 199.0}, 5.0),
        ({"origin": 200.0}, 0.5),
        ({"origin": 900.0}, 0.5),
        ({"origin": 100.0, **FAILING}, 0.5),
        ({"origin": 100.0, "requests": 100.0, "failures": 0.5}, 80.0),
    ],
)
def test_replaying_leaves_the_origin_to_the_stable_version(
    seen: dict[str, float], rate: float
) -> None:
    here = attempt(baseline_origin=100.0, stable_traffic=traffic(**seen))
    assert replay_rate(SPEC, here) == rate


def test_a_stable_version_that_always_failed_does_not_stop_its_cure() -> None:
    usual = attempt(
        baseline_origin=100.0, baseline_failing=0.2, stable_traffic=traffic(origin=100.0, **FAILING)
    )
    assert not is_stable_failing(SPEC, usual)
    assert replay_rate(SPEC, usual) == 80.0


COPY, MIRROR = CopyWork(("user",), "v1", "v2"), MirrorWork(("user",), (), "v1", "v2")
DONE = (WorkFacts(COPY.key, is_done=True),)
COHERENT = CoherenceFacts(is_coherent=True)
WARM = {
    "nothing to do": ((), CacheFacts(), True),
    "copied": ((COPY,), CacheFacts(works=DONE), True),
    "being copied": ((COPY,), CacheFacts(works=(WorkFacts(COPY.key),)), False),
    "not begun": ((COPY,), CacheFacts(), False),
    "copied and coherent": ((COPY, MIRROR), CacheFacts(works=DONE, coherence=COHERENT), True),
    "copied, mirror unknown": ((COPY, MIRROR), CacheFacts(works=DONE), False),
    "copied, mirror cut": (
        (COPY, MIRROR),
        CacheFacts(works=DONE, coherence=CoherenceFacts(is_coherent=False)),
        False,
    ),
    "samples do not matter": ((VerifyWork("v2", 1),), CacheFacts(), True),
}


@pytest.mark.parametrize("case", WARM)
def test_warm_is_filled_and_coherent(case: str) -> None:
    works, cache, is_so = WARM[case]
    assert is_warm(works, cache) is is_so
