"""What a pod prints is read exactly, or refused with a reason."""

from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacherollout.adapters.metrics.exposition import UnusablePageError, read_page

WANTED = frozenset({"hits_total", "took_seconds_bucket"})


def values(text: str) -> dict[tuple[str, ...], float]:
    page = read_page(text, WANTED)
    return {tuple(one.labels.values()): one.value for one in page.of("hits_total")}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hits_total 3", {(): 3.0}),
        ("hits_total{} 3", {(): 3.0}),
        ('hits_total{a="x"} 3', {("x",): 3.0}),
        ('hits_total{a="x",} 3', {("x",): 3.0}),
        ('hits_total { a="x"} 3', None),
        ('hits_total{ a = "x" , b="y" }\t3.5e2', {("x", "y"): 350.0}),
        ('hits_total{a="}"} 3', {("}",): 3.0}),
        ('hits_total{a="say \\"x\\" \\\\ and\\nb"} 3', {('say "x" \\ and\nb',): 3.0}),
        ('hits_total{a="x"} 3 1700000000000', {("x",): 3.0}),
        ('hits_total{a="x"} 3 1700000000.5 # {trace="1"} 0.4', {("x",): 3.0}),
        ('hits_total{a="x"} 3\r', {("x",): 3.0}),
        ('hits_total_of_another{a="x"} 3', {}),
        ('# hits_total{a="x"} 3', {}),
    ],
)
def test_one_line(line: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(UnusablePageError):
            values(line + "\n")
    else:
        assert values(line + "\n") == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hits_total NaN\n", "impossible value"),
        ("hits_total -1\n", "impossible value"),
        ("hits_total +Inf\n", "impossible value"),
        (f"hits_total {2**53 + 2}\n", "impossible value"),
        ("hits_total 1_000\n", "malformed line"),
        ("hits_total many\n", "malformed value"),
        ("hits_total\n", "malformed line"),
        ('hits_total{a="x} 3\n', "malformed line"),
        ('hits_total{a="x" b="y"} 3\n', "malformed labels"),
        ('hits_total{a="x",a="y"} 3\n', "malformed labels"),
        ("hits_total{a=x} 3\n", "malformed labels"),
        ("hits_total 3\nhits_total 3\n", "twice"),
        ('hits_total{a="x",b="y"} 3\nhits_total{b="y",a="x"} 3\n', "twice"),
        ("hits_total 3\nhits_tot", "middle of a line"),
    ],
)
def test_a_page_that_cannot_be_believed_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnusablePageError, match=reason):
        read_page(text, WANTED)


def test_an_error_quotes_no_more_than_a_piece_of_the_line() -> None:
    with pytest.raises(UnusablePageError) as caught:
        read_page("hits_total{" + "x" * 10_000 + "} 1\n", WANTED)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    "declaration",
    ["# TYPE hits_total counter", "# TYPE hits counter", "# TYPE took_seconds histogram"],
)
def test_a_declared_family_without_series_is_there_and_empty(declaration: str) -> None:
    page = read_page(declaration + "\n", WANTED)
    assert len(page.declared) == 1
    assert page.series == {}


@given(st.lists(st.text(), min_size=1, max_size=5, unique=True), st.integers(0, 2**53))
def test_what_the_client_library_prints_is_read_back(labels: list[str], count: int) -> None:
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("hits", "Hits.", ["a"], registry=registry)
    for label in labels:
        counter.labels(label).inc(count)
    text = prometheus_client.generate_latest(registry).decode()
    assert values(text) == {(label,): float(count) for label in labels}


@given(st.text(alphabet='hits_total{}="\\,ab01 #.\n-'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_page("hits_total" + text + "\n", WANTED)
    except UnusablePageError as error:
        assert str(error)  # noqa: PT017 - any other exception fails the test
