"""Releases in a simulated world: the operator's own rules, and what follows from them."""

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest

from cacherollout.api.backend import Limits
from cacherollout.core.plan import releases, schedules
from cacherollout.core.plan.clusters import Shape
from cacherollout.core.plan.comparisons import compare, method
from cacherollout.core.plan.courses import Course, figures
from cacherollout.core.plan.releases import release
from cacherollout.core.ramp import STEP_SECONDS
from tests.unit.core.plan.scenes import scene


def shares(course: Course) -> list[float]:
    return [sample.share for sample in course.samples]


def test_a_release_is_warmed_judged_promoted_and_watched() -> None:
    course = release(scene(warm="Copy"), "copied")
    assert course.problem == ""
    phases = [
        event.text.partition(":")[0]
        for event in course.events
        if event.text.partition(" ")[0].endswith(":")
    ]
    assert phases == ["Warming", "Analyzing", "Promoting", "Observing"]
    assert shares(course)[-1] == 1
    assert course.promoted_at is not None
    assert 60 < course.promoted_at < 180


def test_canary_pods_come_one_by_one_and_not_before_three_measurements() -> None:
    course = release(scene(settings={"metrics": {"interval": "10s"}}), "slow")
    before = [share for share in shares(course) if 0 < share < 1]
    steps = [at for at, (a, b) in enumerate(pairwise(shares(course))) if b > a]
    begun = next(event.at for event in course.events if event.text.startswith("Promoting"))
    ramp = [at for at in steps if at < begun]
    assert before[0] == pytest.approx(1 / 11)
    assert len(ramp) >= 2
    assert all(b - a >= max(STEP_SECONDS, 30) for a, b in pairwise(ramp))


def test_the_rules_are_the_operators_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rule of the rolling update forbids it, no plan shows it."""
    monkeypatch.setattr("cacherollout.core.promotion.may_roll", lambda *_: False)
    course = release(scene(settings={"deadline": "2m"}), "never")
    assert course.promoted_at is None
    assert "0 of 10 pods were promoted within the deadline of 120 s" in course.problem


@pytest.mark.parametrize("warm", ["None", "Copy", "Replay"])
def test_a_larger_budget_is_never_slower(warm: str) -> None:
    times = []
    for budget in (1.1, 1.3, 1.6, 2.0, 3.0):
        course = release(
            scene(warm=warm, settings={"originLoad": {"budget": budget}, "deadline": "5m"}), "any"
        )
        times.append(inf if course.promoted_at is None else course.promoted_at)
    # One measurement more or less decides when a step is due.
    assert all(later <= sooner + 5 for sooner, later in pairwise(times)), times
    assert times[-1] < inf


def test_a_budget_below_the_cost_of_two_namespaces_ends_in_a_roll_back() -> None:
    tight = scene(settings={"originLoad": {"budget": 1.05}, "deadline": "2m"})
    course = release(tight, "tight")
    assert course.promoted_at is None
    assert "within the deadline" in course.problem


def test_copying_costs_the_origin_less_than_anything_that_is_cold() -> None:
    found = {course.name: figures(course) for course in compare(scene(warm="Copy"))}
    copied = found["operator, as set (copy)"].peak_1s
    assert copied < 1.5
    others = {name: each.peak_1s for name, each in found.items() if "cop" not in name}
    assert len(others) == 5
    assert all(copied < peak for peak in others.values()), others
    assert others["all at once"] == max(others.values())


def test_every_alternative_is_there_once() -> None:
    names = [course.name for course in compare(scene(warm="Replay"))]
    assert names == [
        "operator, as set (replay)",
        "operator, copy and mirror",
        "operator, cold",
        "copy once, then all at once",
        "fixed steps 10/25/50/100 %, 60 s",
        "plain rolling update",
        "all at once",
    ]


def test_replaying_waits_for_the_hot_ids_within_the_budget() -> None:
    course = release(scene(warm="Replay"), "replayed")
    assert course.promoted_at is not None
    asked = [sample.flow.replayed for sample in course.samples]
    first = next(at for at, share in enumerate(shares(course)) if share > 0)
    assert sum(asked) > 100
    assert sum(asked[first:]) == 0
    assert max(course.loads[:first]) <= 2.0


def test_a_changed_schema_is_not_copied() -> None:
    changed = scene(warm="Copy", fingerprints={"user": "another"})
    assert method(changed) == "cold"
    assert figures(release(changed, "changed")).lowest_new_hit_rate == pytest.approx(
        figures(release(scene(), "cold")).lowest_new_hit_rate
    )


def test_the_same_version_shares_its_keys_and_costs_nothing() -> None:
    shared = scene()
    cache = shared.spec.cache.model_copy(update={"version": "v1"})
    kept = replace(shared, spec=shared.spec.model_copy(update={"cache": cache}))
    assert method(kept) == "shared keys"
    (course,) = compare(kept)
    assert course.promoted_at is not None
    assert figures(course).peak_1s == pytest.approx(1.0, abs=0.001)


def test_keys_that_do_not_fit_are_not_copied() -> None:
    full = scene(
        warm="Copy",
        settings={"deadline": "60s"},
        used_bytes=80_000_000,
        limit_bytes=95_000_000,
    )
    course = release(full, "full")
    assert course.promoted_at is None
    assert "not warm within the deadline" in course.problem


def test_copying_takes_its_time() -> None:
    quick = release(scene(warm="Copy"), "quick")
    slow = release(scene(warm="Copy", limits=Limits(keys_per_second=100)), "slow")
    assert quick.promoted_at is not None
    assert slow.promoted_at is not None
    assert slow.promoted_at > quick.promoted_at + 60


def test_a_release_that_ends_never_is_not_followed_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(releases, "MOST_SECONDS", 30)
    assert "had not ended" in release(scene(), "long").problem


def test_copying_once_takes_its_time_and_ages() -> None:
    populations = scene().populations
    quick = schedules.copied_once(populations, 1e9)
    slow = schedules.copied_once(populations, 500.0)
    assert quick.promoted_at is not None
    assert slow.promoted_at is not None
    assert slow.promoted_at > quick.promoted_at + 20
    assert figures(quick).peak_1s < 1.05 < figures(slow).peak_1s
    assert slow.loads[0] == pytest.approx(1.0)


def test_a_rolling_update_is_as_fast_as_its_pods_start() -> None:
    shape = Shape(10, 5, 0, 20.0)
    course = schedules.rolling_update(scene().populations, shape)
    assert course.promoted_at == pytest.approx(40, abs=3)
    assert shares(course)[10] == 0
    assert 0 < shares(course)[25] < 1
