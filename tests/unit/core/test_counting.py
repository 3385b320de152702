"""From counters to ticks: resets, new and vanished pods, and that nothing is counted twice."""

from dataclasses import replace

import pytest

from cacherollout.api.ledger import MAX_COUNTED_PODS, Counters
from cacherollout.core.counting import count, delta, hit_rate, origin_ratio, side_of
from cacherollout.core.facts import Measurement, PodMeasurement
from tests.factories import (
    NOW,
    attempt,
    canary_pod,
    counted,
    counters,
    measurement,
    on_trial,
    pod,
    traffic,
)

NEW = frozenset({"uid-canary-1"})
ALL = frozenset({"uid-a", "uid-b", "uid-canary-1"})


def many(number: float) -> Counters:
    return Counters(
        requests=100 * number, lookups=200 * number, misses=10 * number, origin=10 * number
    )


def test_the_first_measurement_is_a_beginning_only() -> None:
    after, tick = count(attempt(), measurement(NOW, a=many(7)), NEW, ALL)
    assert tick is None
    assert after.measured_at == NOW
    assert after.counted == counted(a=many(7))
    assert after.baseline_ticks == 0


def test_no_measurement_and_an_empty_one_change_nothing() -> None:
    before = attempt()
    assert count(before, None, NEW, ALL) == (before, None)
    assert count(before, Measurement(NOW, ()), NEW, ALL) == (before, None)


def test_a_measurement_is_counted_once() -> None:
    before = attempt(measured_at=NOW - 5, counted=counted(a=many(1)))
    scrape = measurement(NOW, a=many(2))
    once, tick = count(before, scrape, NEW, ALL)
    assert tick is not None
    assert count(once, scrape, NEW, ALL) == (once, None)
    assert count(once, replace(scrape, at=NOW - 1), NEW, ALL) == (once, None)


def test_each_side_gets_its_own() -> None:
    before = attempt(measured_at=NOW - 5, counted=counted(a=many(1), canary_1=many(1)))
    _, tick = count(before, measurement(NOW, a=many(4), canary_1=many(2)), NEW, ALL)
    assert tick is not None
    assert (tick.seconds, tick.stable.requests, tick.canary.requests) == (5, 300, 100)


def test_a_pod_that_restarted_counts_what_it_counted_since() -> None:
    """Sums of counters would have fallen by a lifetime, or risen by one."""
    before = attempt(measured_at=NOW - 5, counted=counted(a=many(10_000), b=many(10_000)))
    _, tick = count(before, measurement(NOW, a=many(10_003), b=many(2)), NEW, ALL)
    assert tick is not None
    assert tick.stable.requests == 500


def test_a_new_pod_counts_from_its_second_measurement_on() -> None:
    before = attempt(measured_at=NOW - 5, counted=counted(a=many(1)))
    after, tick = count(before, measurement(NOW, a=many(2), b=many(9_000)), NEW, ALL)
    assert tick is not None
    assert tick.stable.requests == 100
    _, tick = count(after, measurement(NOW + 5, a=many(3), b=many(9_001)), NEW, ALL)
    assert tick is not None
    assert tick.stable.requests == 200


def test_a_vanished_pod_drops_out() -> None:
    before = attempt(measured_at=NOW - 5, counted=counted(a=many(1), b=many(900)))
    after, tick = count(before, measurement(NOW, a=many(2)), NEW, ALL)
    assert tick is not None
    assert tick.stable.requests == 100
    assert after.counted == counted(a=many(2))


def test_where_nobody_is_known_there_is_no_tick() -> None:
    before = attempt(measured_at=NOW - 5, counted=counted(a=many(1)))
    after, tick = count(before, measurement(NOW, b=many(2)), NEW, ALL)
    assert tick is None
    assert after.measured_at == NOW


def test_rates_stand_for_every_serving_pod() -> None:
    before = attempt(measured_at=NOW - 5, counted=counted(a=many(0)))
    after, _ = count(before, measurement(NOW, a=many(5), b=many(0)), NEW, ALL)
    assert after.stable_traffic.requests == 200
    after, _ = count(before, measurement(NOW, a=many(5), b=many(0)), NEW, ALL - {"uid-b"})
    assert after.stable_traffic.requests == 100


def test_the_baseline_is_the_stable_sides_load_before_any_traffic() -> None:
    now = attempt(measured_at=NOW, counted=counted(a=many(0)))
    for number in range(1, 5):
        now, _ = count(now, measurement(NOW + 5 * number, a=many(5 * number)), NEW, ALL)
    # The first tick may have begun in silence.
    assert (now.baseline_origin, now.baseline_ticks) == (10, 3)
    later = replace(now, traffic_since=NOW + 20)
    later, _ = count(later, measurement(NOW + 25, a=many(500)), NEW, ALL)
    assert (later.baseline_origin, later.baseline_ticks) == (10, 3)


def test_silence_is_no_baseline() -> None:
    now = attempt(measured_at=NOW, counted=counted(a=many(5)))
    for number in range(1, 5):
        now, _ = count(now, measurement(NOW + 5 * number, a=many(5)), NEW, ALL)
    assert now.baseline_origin is None


def test_the_baseline_follows_slowly() -> None:
    now = attempt(
        measured_at=NOW,
        counted=counted(a=many(0)),
        baseline_origin=100.0,
        baseline_ticks=9,
        stable_traffic=traffic(),
    )
    now, _ = count(now, measurement(NOW + 1, a=many(20)), NEW, ALL)
    assert now.baseline_origin == pytest.approx(130)


def test_requests_on_the_canary_are_data() -> None:
    now = on_trial(measured_at=NOW - 5, data_since=None, counted=counted(canary_1=many(1)))
    quiet, _ = count(now, measurement(NOW, canary_1=many(1)), NEW, ALL)
    assert quiet.data_since is None
    busy, _ = count(now, measurement(NOW, canary_1=many(2)), NEW, ALL)
    assert busy.data_since == NOW


def test_only_so_many_pods_are_remembered_and_the_new_ones_first() -> None:
    crowd = Measurement(
        NOW,
        tuple(
            PodMeasurement(name, counters())
            for name in (*(f"uid-{number:04}" for number in range(200)), "uid-canary-1")
        ),
    )
    after, _ = count(attempt(), crowd, NEW, ALL)
    assert len(after.counted) == MAX_COUNTED_PODS
    assert after.counted[0].uid == "uid-canary-1"


def test_a_counter_that_fell_counts_from_zero() -> None:
    assert delta(Counters(requests=50, misses=3), Counters(requests=7, misses=4)) == Counters(
        requests=7, misses=1
    )


def test_sides_are_told_by_release_whoever_made_the_pod() -> None:
    pods = (
        pod("a"),
        canary_pod(),
        pod("b", revision="rev-b", version="v2"),
        pod("c", revision="rev-b", version="v1"),
        pod("d", revision="rev-b"),
    )
    assert side_of(pods, "rev-b", "v2", "v1") == {"uid-canary-1", "uid-b"}
    assert side_of(pods, "rev-b", "v1", "v1") == {"uid-canary-1", "uid-c", "uid-d"}


def test_ratios_need_something_to_divide_by() -> None:
    assert hit_rate(traffic(lookups=0)) is None
    assert hit_rate(traffic()) == 0.95
    assert origin_ratio(attempt()) is None
    assert origin_ratio(on_trial(baseline_ticks=1)) is None
    assert origin_ratio(on_trial(stable_traffic=traffic(), canary_traffic=traffic())) == 2
    assert origin_ratio(on_trial(baseline_origin=0.0, stable_traffic=traffic(origin=3))) == 3
