"""Pauses, page sizes and progress, on a clock of the test's own."""

import pytest

from cacherollout.cache.errors import HeadroomError
from cacherollout.cache.facts import Memory
from cacherollout.cache.limits import Limits
from cacherollout.cache.pacers import Pacer
from cacherollout.cache.progress import Meter

IDLE = 0.0001


def walk(pacer: Pacer, *, pages: int, key_seconds: float, late_seconds: float = 0.0) -> list[float]:
    """Times at which pages begin, on a server that takes `key_seconds` a key."""
    now, starts = 100.0, []
    for _ in range(pages):
        starts.append(now)
        keys = pacer.page_keys
        elapsed = IDLE + keys * key_seconds
        now += elapsed
        pause = pacer.pause_seconds(now=now, elapsed_seconds=elapsed, keys=keys)
        now += pause + (late_seconds if pause > 0 else 0)
    return starts


@pytest.mark.parametrize("duty", [5.0, 25.0, 50.0])
def test_the_server_is_busy_for_no_more_than_its_duty_cycle(duty: float) -> None:
    limits = Limits(keys_per_second=None, duty_cycle_percent=duty)
    starts = walk(Pacer(limits, idle_seconds=IDLE), pages=501, key_seconds=4e-6)
    busy = 500 * 50 * 4e-6
    assert busy / (starts[-1] - starts[0]) <= duty / 100


def test_late_timers_do_not_slow_the_walk_down() -> None:
    limits = Limits(keys_per_second=None, duty_cycle_percent=25)
    exact = walk(Pacer(limits, idle_seconds=IDLE), pages=500, key_seconds=4e-6)
    late = walk(Pacer(limits, idle_seconds=IDLE), pages=500, key_seconds=4e-6, late_seconds=0.001)
    assert late[-1] - late[0] <= 1.3 * (exact[-1] - exact[0])


@pytest.mark.parametrize("rate", [100, 10_000, 50_000])
def test_the_key_rate_is_a_hard_ceiling(rate: int) -> None:
    limits = Limits(keys_per_second=rate, duty_cycle_percent=100)
    starts = walk(Pacer(limits, idle_seconds=IDLE), pages=1000, key_seconds=1e-6)
    assert 999 * 50 / (starts[-1] - starts[0]) <= rate * 1.005 + 250


def test_unthrottled_never_pauses() -> None:
    pacer = Pacer(Limits.unthrottled(), idle_seconds=IDLE)
    assert pacer.pause_seconds(now=1.0, elapsed_seconds=0.5, keys=500) == 0.0
    assert pacer.page_keys == 500


def test_a_slow_server_gets_smaller_pages_and_a_recovered_one_full_ones() -> None:
    pacer = Pacer(Limits(keys_per_second=None), idle_seconds=IDLE)
    walk(pacer, pages=50, key_seconds=4e-6)
    assert pacer.page_keys == 50
    walk(pacer, pages=12, key_seconds=40e-6)
    assert pacer.page_keys == 10
    walk(pacer, pages=50, key_seconds=4e-6)
    assert pacer.page_keys == 50


def test_where_few_keys_are_wanted_a_page_looks_at_more() -> None:
    pacer = Pacer(Limits(keys_per_second=None), idle_seconds=IDLE)
    assert pacer.count == 50, "nothing is known yet: all may be wanted"
    for _ in range(100):
        pacer.learn(examined=pacer.count, keys=0)
    assert pacer.count == 250, "looking costs a quarter of handling, so no page costs more"
    for _ in range(100):
        pacer.learn(examined=pacer.count, keys=pacer.count)
    assert pacer.count == 50


@pytest.mark.parametrize(
    "bad",
    [
        {"duty_cycle_percent": 0},
        {"duty_cycle_percent": 101},
        {"duty_cycle_percent": float("nan")},
        {"memory_ceiling_percent": 0},
        {"page_keys": 5},
        {"page_keys": 5000},
        {"keys_per_second": 0},
        {"timeout_seconds": 0},
    ],
)
def test_bounds_that_cannot_be_kept_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        Limits(**bad)  # type: ignore[arg-type]


def test_progress_extrapolates_from_the_share_of_the_keyspace_seen() -> None:
    meter = Meter(keyspace=1000, examined=250)
    meter.families.update({"user": 100, "booking": 25})
    progress = meter.snapshot(elapsed_seconds=10)
    assert progress.done == 125
    assert progress.total == 500
    assert progress.keys_per_second == 12.5
    assert progress.eta_seconds == 30
    assert progress.families == {"user": 100, "booking": 25}
    meter.is_finished = True
    assert meter.snapshot(10).total == 125
    assert meter.snapshot(10).eta_seconds == 0


def test_progress_before_the_first_page_claims_nothing() -> None:
    progress = Meter(keyspace=1000).snapshot(elapsed_seconds=0)
    assert (progress.total, progress.eta_seconds, progress.keys_per_second) == (None, None, 0)


@pytest.mark.parametrize(
    ("policy", "wanted", "is_allowed"),
    [
        ("noeviction", 350, True),
        ("noeviction", 351, False),
        ("allkeys-lru", 300, True),
        ("allkeys-lru", 301, False),
        ("volatile-ttl", 301, False),
    ],
)
def test_memory_is_granted_up_to_the_ceiling(policy: str, wanted: int, is_allowed: bool) -> None:
    memory = Memory(used_bytes=500, limit_bytes=1000, policy=policy)
    if is_allowed:
        memory.require(wanted, ceiling_percent=85)
    else:
        with pytest.raises(HeadroomError, match="more bytes"):
            memory.require(wanted, ceiling_percent=85)


def test_without_a_limit_headroom_is_unknown_and_granted() -> None:
    memory = Memory(used_bytes=500, limit_bytes=None, policy="noeviction")
    assert memory.headroom_bytes(85) is None
    assert memory.used_percent is None
    memory.require(10**15, ceiling_percent=85)


def test_progress_counts_on_the_primaries_to_come() -> None:
    meter = Meter(keyspace=1000, examined=500, unseen=0.5)
    meter.families["user"] = 100
    progress = meter.snapshot(elapsed_seconds=10)
    assert progress.total == 400
    assert progress.eta_seconds == pytest.approx(30)
