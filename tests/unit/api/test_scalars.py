"""Durations, percentages and counts: what users write is what they read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacherollout.api.scalars import (
    format_duration,
    format_percent,
    parse_duration,
    parse_percent,
    resolve_count,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10ms", 0.01), ("30s", 30), ("1m30s", 90), ("1h", 3600), ("1h1m1s1ms", 3661.001), ("0s", 0)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
    assert format_duration(seconds) == text


def test_numbers_pass_as_seconds_and_fractions() -> None:
    assert parse_duration(2.5) == 2.5
    assert parse_percent(0.25) == 0.25


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "-5s", "1.5h", "s", "5d", "1s1m", "٣s", None, True, "5m\n", [5]]
)
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="write a duration such as 10ms"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "80", "101%", "-1%", "1e2%", "NaN%", ".5%", "80 %", True, None]
)
def test_what_is_no_percentage_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="write a percentage from 0% to 100%"):
        parse_percent(text)


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("80%", 0.8), ("0.1%", 0.001), ("100%", 1), ("0%", 0), ("99.9999%", 0.999999)],
)
def test_percentages_are_fractions(text: str, fraction: float) -> None:
    assert parse_percent(text) == pytest.approx(fraction)
    assert format_percent(fraction) == text


@given(st.integers(0, 10**8))
def test_every_duration_survives_being_written(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "whole", "pods"),
    [(3, 10, 3), (0, 10, 1), ("10%", 10, 1), ("10%", 11, 2), ("50%", 0, 1), ("100%", 7, 7)],
)
def test_counts_are_whole_pods_and_at_least_one(value: int | str, whole: int, pods: int) -> None:
    assert resolve_count(value, whole) == pods
