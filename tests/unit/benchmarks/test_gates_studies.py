"""A small run of `make bench-gates`, with bounds that a worse gate would break."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gates import cold, others, studies, tables
from benchmarks.gates.__main__ import BEGIN, END, put
from benchmarks.gates.figures import Delay, Share
from benchmarks.gates.noise import REALISTIC, Counts, Quality, Weather, observe
from benchmarks.gates.studies import BY_TIME, HEALTHY, PRODUCT, RATIOS, Study

QUIET = replace(
    REALISTIC,
    traffic=0.0,
    share=0.0,
    misses=(0.0, 0.0),
    errors=(0.0, 0.0),
    latency=(0.0, 0.0),
    stumbles=0.0,
    hiccups=0.0,
)


def one(group: list[Study], name: str, per_second: float, interval: float) -> Study:
    return next(
        replace(study, rules=(PRODUCT, BY_TIME))
        for study in group
        if (study.name, study.weather.per_second, study.weather.interval)
        == (name, per_second, interval)
    )


def test_healthy_canaries_are_not_aborted_where_counting_failed_checks_aborts_many() -> None:
    outcome = studies.run(one(studies.false_aborts(1000), "healthy", 100, 5))
    assert outcome.failed().count <= 1
    assert outcome.failed(BY_TIME).count <= 10
    assert 0.01 < outcome.aborted_by("Argo-style").value < 0.10
    assert outcome.aborted_by("Flagger-style").value < outcome.aborted_by("Argo-style").value
    assert np.isfinite(outcome.product.passed).mean() > 0.9


@pytest.mark.parametrize("interval", [2, 5, 10, 15])
def test_a_hiccup_of_one_pod_aborts_next_to_nothing_at_any_interval(interval: float) -> None:
    outcome = studies.run(one(studies.hiccups(300), "hiccup of 50 %", 100, interval))
    assert outcome.failed().count <= 3
    if interval == 10:
        assert outcome.failed(BY_TIME).value > 0.2


@pytest.mark.parametrize(("interval", "median"), [(5, 25), (15, 45)])
@pytest.mark.parametrize("name", list(studies.REGRESSIONS)[:3])
def test_a_regression_is_found_as_fast_as_is_published(
    name: str, interval: float, median: float
) -> None:
    at_once = studies.run(one(studies.regressions(100), name, 1000, interval))
    late = studies.run(one(studies.late_regressions(100), name, 1000, interval))
    assert at_once.delay().median == median
    # It begins within a tick, which is bad in part only.
    assert median - interval <= late.delay().median <= median + interval
    assert at_once.delay().missed.count == late.delay().missed.count == 0
    assert at_once.delay_of("Flagger-style").median == 300
    assert not np.isfinite(at_once.product.passed).any()


@pytest.mark.parametrize("name", studies.REGRESSIONS)
def test_what_both_sides_share_is_held_and_given_up_and_hardly_ever_passes(name: str) -> None:
    product = studies.run(one(studies.shared_degradations(200), name, 100, 5)).product
    assert np.isfinite(product.passed).mean() <= 0.01
    assert np.isfinite(product.given_up).mean() > 0.8
    assert np.median(product.held) <= 60


def test_a_cold_canary_is_not_asked_for_its_hit_rate_and_a_warmed_one_is() -> None:
    rng = np.random.default_rng(1)
    chilly = cold.play(rng, 100, 300, is_mirrored=False)
    warm = cold.play(rng, 100, 300, is_mirrored=True)
    assert (chilly.failed, chilly.was_asked, chilly.failed_checks) == (np.inf, False, 5)
    assert chilly.hit_rate < 0.6
    assert (warm.failed, warm.was_asked, warm.failed_checks) == (np.inf, True, 0)
    assert warm.hit_rate == pytest.approx(cold.HIT_RATE, abs=0.03)


def test_broken_lookups_of_a_warmed_canary_are_found() -> None:
    played = [
        cold.play(np.random.default_rng(seed), 100, 300, is_mirrored=True, broken=cold.BROKEN)
        for seed in range(3)
    ]
    assert np.median([each.failed for each in played]) <= 60
    assert played[0].hit_rate == pytest.approx(cold.HIT_RATE * (1 - cold.BROKEN), abs=0.05)


def test_a_key_is_filled_again_when_its_ttl_is_over() -> None:
    times = np.array([0.0, 1.0, 11.0, 5.0, 12.0, 21.5, 30.0])
    keys = np.array([0, 1, 0, 0, 1, 0, 1])
    assert cold._missed(times, keys, 10.0, None).tolist() == [1, 1, 1, 0, 1, 1, 1]
    held = np.array([3.0, 25.0])
    assert cold._missed(times, keys, 10.0, held).tolist() == [0, 0, 0, 1, 0, 1, 1]


def test_the_noise_is_what_it_says() -> None:
    weather = Weather(2000, 100, 100, 5, noise=replace(QUIET, is_certain=True))
    counts = observe(np.random.default_rng(1), weather, HEALTHY, HEALTHY)
    hit_rate, errors, slow, failures = counts.bad.sum((1, 2)) / counts.seen.sum((1, 2))
    base = counts.base_bad.sum((1, 2)) / counts.base_seen.sum((1, 2))
    # 15 of 100 s at 10 % errors, and at 10 % slow ones of which most exceed the limit.
    assert (hit_rate, errors, failures) == pytest.approx((0.15, 0.0155, 0.0155), rel=0.02)
    assert base == pytest.approx([0.15, 0.0005, 0.0272, 0.0005], rel=0.02)
    assert slow == pytest.approx(0.0272 + 0.15 * 0.1 * 0.97, rel=0.02)
    flawless = replace(HEALTHY, errors=1e-12)
    touched = (observe(np.random.default_rng(1), weather, flawless, HEALTHY).bad[1] > 0).sum(axis=0)
    assert set(touched.tolist()) == {3, 4}
    assert counts.seen[0].mean() == pytest.approx(500, rel=0.01)


def test_real_noise_wanders() -> None:
    counts = observe(np.random.default_rng(1), Weather(500, 300, 1000, 5), HEALTHY, HEALTHY)
    levels = counts.seen[0].mean(axis=0)
    assert 0.1 < levels.std() / levels.mean() < 0.4


def test_a_regression_begins_when_it_is_told_to() -> None:
    weather = Weather(200, 400, 1000, 5, onset=300, noise=QUIET)
    bad = replace(HEALTHY, failures=0.2)
    counts = observe(np.random.default_rng(1), weather, bad, HEALTHY, before=HEALTHY)
    shares = counts.bad[3] / counts.seen[3]
    assert shares[:60].max() < 0.01
    assert shares[61:].min() > 0.15
    within = 1 - (counts.began - 300) / 5
    assert shares[60] == pytest.approx(0.2 * within, abs=0.03)


def test_failed_checks_add_up() -> None:
    seen = np.full((4, 60, 1), 100.0)
    bad = np.zeros((4, 60, 1))
    bad[1, ::12] = 2.0
    counts = Counts(bad, seen, bad, seen, np.zeros(1))
    assert others.aborted(RATIOS, counts, 5, 5).tolist() == [300]
    assert others.aborted(RATIOS, counts, 5, 4).tolist() == [240]
    assert others.aborted(RATIOS, counts, 5, 6).tolist() == [np.inf]
    silent = Counts(bad * 0, seen * 0, bad, seen, np.zeros(1))
    assert others.aborted(RATIOS, silent, 5, 1).tolist() == [60]


def test_the_bound_holds_for_an_hour_exactly_at_every_target() -> None:
    """One canary in a thousand at the most, if requests are independent."""
    at_target = Quality(misses=0.2, errors=0.001, p95_ms=10.0, failures=0.001)
    study = Study("at the targets", Weather(500, 3600, 100, 5, noise=QUIET), at_target, at_target)
    assert studies.run(study).failed().count <= 3


def test_a_study_is_the_same_whenever_it_is_run() -> None:
    study = Study("healthy", Weather(100, 100, 10, 5), Quality(misses=0.4))
    first, again = (studies.run(study).product.failed for _ in range(2))
    assert first.tolist() == again.tolist()
    assert np.isfinite(first).any()


def test_intervals_are_exact() -> None:
    assert Share(0, 100).bounds == pytest.approx((0, 0.0362), abs=0.0001)
    assert Share(5, 100).bounds == pytest.approx((0.0164, 0.1128), abs=0.0001)
    assert Share(7, 7).bounds == pytest.approx((0.5904, 1), abs=0.0001)
    assert str(Share(0, 40_000)) == "0 % (0 of 40,000; ≤ 0.0092 %)"
    delay = Delay(np.array([5.0] * 40 + [10.0] * 40 + [np.inf] * 20))
    assert (delay.median, delay.bounds, delay.missed.value) == (10, (5, 10), 0.2)
    assert str(delay) == "10 s (5–10); 95 % within never"


def test_the_tables_mark_what_is_missed() -> None:
    name = "p95 × 5"
    bad = studies.run(one(studies.regressions(60), name, 100, 5))
    late = studies.run(one(studies.late_regressions(60), name, 100, 5))
    healthy = studies.run(one(studies.false_aborts(60), "healthy", 100, 5))
    assert "| **25 s (" in tables.delays([bad])
    assert "** missed" not in tables.late_delays([late], [bad])
    assert "≤ 30 s" in tables.late_delays([late], [bad])
    assert "0 % (0 of 60; ≤ 6 %)" in tables.false_aborts([healthy])
    aborted = replace(healthy, ends={PRODUCT.name: bad.product})
    assert "**100 % (60 of 60; 94–100 %)** missed" in tables.false_aborts([aborted])
    assert "| 0 %" in tables.wrong_passes([bad], [bad])
    slow = [cold.Cold(80.0, was_asked=True, hit_rate=0.7, failed_checks=5)]
    assert "**80 s** missed" in tables.cold({"broken": (tables.IN_TIME, slow)})
    assert "**100 % (1 of 1" in tables.cold({"healthy": (tables.NO_ABORT, slow)})


def test_the_tables_go_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put(page, "new")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="must hold the lines"):
        put(page, "new")
