"""The limits of a backend hold for everything on it together."""

import pytest

from cacherollout.adapters.cache.pacing import (
    CREDIT_SECONDS,
    Turnstile,
    engine_limits,
    written_keys,
)
from cacherollout.api.backend import Limits


class Walk:
    """Sends pages one after the other and waits as it is told, on a clock of its own."""

    def __init__(self, turnstile: Turnstile, *, page_seconds: float, keys: int) -> None:
        self.turnstile = turnstile
        self.page_seconds = page_seconds
        self.keys = keys
        self.free_at = 0.0
        self.pages = 0

    def step(self) -> None:
        answered_at = self.free_at + self.page_seconds
        self.free_at = answered_at + self.turnstile.pause_seconds(
            now=answered_at,
            sent_at=self.free_at,
            elapsed_seconds=self.page_seconds,
            idle_seconds=0.0,
            keys=self.keys,
        )
        self.pages += 1


def walk_together(walks: list[Walk], seconds: float) -> int:
    """Pages that they send in that time."""
    while True:
        first = min(walks, key=lambda walk: walk.free_at)
        if first.free_at >= seconds:
            return sum(walk.pages for walk in walks)
        first.step()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_duty_cycle_is_shared(count: int) -> None:
    turnstile = Turnstile(Limits(duty_cycle_percent=25, keys_per_second=10_000_000))
    walks = [Walk(turnstile, page_seconds=0.002, keys=50) for _ in range(count)]
    pages = walk_together(walks, 10.0)
    assert pages * 0.002 / 10.0 == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_keys_a_second_are_shared(count: int) -> None:
    turnstile = Turnstile(Limits(duty_cycle_percent=100, keys_per_second=1000))
    walks = [Walk(turnstile, page_seconds=0.0005, keys=50) for _ in range(count)]
    assert walk_together(walks, 10.0) * 50 / 10.0 == pytest.approx(1000, rel=0.05)


def test_pages_in_flight_together_count_the_server_s_time_once() -> None:
    turnstile = Turnstile(Limits(duty_cycle_percent=50, keys_per_second=10_000_000))
    pauses = [
        turnstile.pause_seconds(
            now=0.010, sent_at=0.0, elapsed_seconds=0.010, idle_seconds=0.0, keys=10
        )
        for _ in range(3)
    ]
    assert pauses == pytest.approx([0.010 - CREDIT_SECONDS] * 3, abs=1e-5)


def test_the_network_s_share_of_a_page_is_not_the_server_s() -> None:
    turnstile = Turnstile(Limits(duty_cycle_percent=50, keys_per_second=10_000_000))
    pause = turnstile.pause_seconds(
        now=0.1, sent_at=0.0, elapsed_seconds=0.1, idle_seconds=0.08, keys=10
    )
    assert pause == pytest.approx(0.02 - CREDIT_SECONDS)


def test_short_pauses_add_up_until_one_is_worth_a_timer() -> None:
    turnstile = Turnstile(Limits(duty_cycle_percent=50, keys_per_second=10_000_000))
    walk = Walk(turnstile, page_seconds=0.0004, keys=10)
    assert walk_together([walk], 10.0) * 0.0004 / 10.0 == pytest.approx(0.5, rel=0.05)


def test_idle_time_is_not_saved_up() -> None:
    turnstile = Turnstile(Limits(duty_cycle_percent=10, keys_per_second=10_000_000))
    pause = turnstile.pause_seconds(
        now=1000.0, sent_at=999.99, elapsed_seconds=0.01, idle_seconds=0.0, keys=10
    )
    assert pause == pytest.approx(0.09 - CREDIT_SECONDS)


@pytest.mark.parametrize(
    ("commands", "keys"),
    [
        ([(b"UNLINK", b"a", b"b", b"c")], 3),
        ([(b"COPY", b"a", b"b"), (b"COPY", b"c", b"d"), (b"PTTL", b"a")], 2),
        ([(b"PEXPIRE", b"a", 1, b"GT")], 1),
        ([(b"SCAN", b"0"), (b"EXISTS", b"a", b"b"), (b"GET", b"a")], 0),
        ([], 0),
    ],
)
def test_keys_that_are_written_count(commands: list[tuple[bytes, ...]], keys: int) -> None:
    assert written_keys(commands) == keys


def test_a_slow_limit_makes_small_pages() -> None:
    assert engine_limits(Limits(keys_per_second=10)).page_keys == 10
    assert engine_limits(Limits()).page_keys == 50
    assert engine_limits(Limits(memory_ceiling_percent=70)).memory_ceiling_percent == 70
