"""Every contract metric becomes the counter that the gates mean by it."""

import pytest

from cacherollout.adapters.metrics.counters import count_page
from cacherollout.adapters.metrics.exposition import UnusablePageError, read_page
from cacherollout.adapters.metrics.names import CONTRACT
from cacherollout.api.ledger import Counters
from cacherollout.core.facts import PodMeasurement


def count(text: str, version: str = "v3", slow_above_seconds: float = 0.010) -> PodMeasurement:
    return count_page(
        read_page(text, CONTRACT.on_page()),
        CONTRACT,
        uid="u1",
        version=version,
        slow_above_seconds=slow_above_seconds,
    )


PAGE = """\
# TYPE cache_lookups_total counter
cache_lookups_total{version="v3",family="user",result="hit"} 80
cache_lookups_total{version="v3",family="user",result="miss"} 10
cache_lookups_total{version="v3",family="list",result="corrupt"} 6
cache_lookups_total{version="v3",family="list",result="error"} 4
cache_operations_total{version="v3",family="user",operation="get"} 100
cache_operations_total{version="v3",family="user",operation="set"} 16
cache_errors_total{version="v3",family="user",kind="timeout"} 4
cache_errors_total{version="v3",family="list",kind="decode"} 6
cache_operation_duration_seconds_bucket{version="v3",operation="get",le="0.005"} 90
cache_operation_duration_seconds_bucket{version="v3",operation="get",le="0.01"} 97
cache_operation_duration_seconds_bucket{version="v3",operation="get",le="0.05"} 99
cache_operation_duration_seconds_bucket{version="v3",operation="get",le="+Inf"} 100
cache_operation_duration_seconds_bucket{version="v3",operation="set",le="0.01"} 16
cache_operation_duration_seconds_bucket{version="v3",operation="set",le="+Inf"} 16
cache_operation_duration_seconds_count{version="v3",operation="get"} 100
http_requests_total{version="v3",method="GET",route="/users/{id}",status="200"} 70
http_requests_total{version="v3",method="GET",route="/users/{id}",status="404"} 5
http_requests_total{version="v3",method="GET",route="/users/{id}",status="503"} 2
origin_queries_total{version="v3",family="user"} 17
"""


def test_every_counter_of_the_contract() -> None:
    measured = count(PAGE)
    assert measured.uid == "u1"
    assert measured.counters == Counters(
        lookups=96,
        misses=16,
        operations=116,
        errors=10,
        slow=3,
        timed=116,
        requests=77,
        failures=2,
        origin=17,
    )
    assert measured.foreign_lookups == 0


def test_a_failed_lookup_is_neither_a_hit_nor_a_miss() -> None:
    measured = count('cache_lookups_total{version="v3",result="error"} 7\n')
    assert measured.counters.lookups == 0
    assert measured.counters.misses == 0


def test_a_result_that_the_contract_does_not_know_never_flatters() -> None:
    measured = count('cache_lookups_total{version="v3",result="stale"} 7\n')
    assert measured.counters.misses == 7


def test_lookups_under_another_version_are_told_apart() -> None:
    assert count(PAGE, version="v4").foreign_lookups == 96


@pytest.mark.parametrize(
    ("bound", "slow"),
    [(0.005, 10), (0.007, 3), (0.010, 3), (10 * 0.001, 3), (0.03, 1), (0.05, 1)],
)
def test_slow_is_what_lies_above_the_bound_or_the_next_larger_bucket(
    bound: float, slow: float
) -> None:
    text = "".join(line + "\n" for line in PAGE.splitlines() if "get" in line and "bucket" in line)
    assert count(text, slow_above_seconds=bound).counters.slow == slow


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "none of"),
        ("go_goroutines 7\n", "none of cache_errors_total, cache_lookups_total"),
        ('cache_lookups_total{version="v3"} 1\n', "cache_lookups_total has no label 'result'"),
        ('cache_lookups_total{result="hit"} 1\n', "cache_lookups_total has no label 'version'"),
        ('http_requests_total{version="v3"} 1\n', "http_requests_total has no label 'status'"),
        ('cache_operation_duration_seconds_bucket{le="+Inf"} 1\n', "add le=0.01"),
        ('cache_operation_duration_seconds_bucket{le="0.01"} 1\n', r"lacks the bucket \+Inf"),
        ('cache_operation_duration_seconds_bucket{le="x"} 1\n', "not a number"),
        ('cache_operation_duration_seconds_bucket{le="nan"} 1\n', "not a number"),
        (
            (
                'cache_operation_duration_seconds_bucket{le="0.01"} 9\n'
                'cache_operation_duration_seconds_bucket{le="+Inf"} 3\n'
            ),
            "more below a bound than altogether",
        ),
    ],
)
def test_a_page_that_breaks_the_contract_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnusablePageError, match=reason):
        count(text or "\n")


def test_a_fresh_pod_that_declares_its_counters_has_counted_nothing() -> None:
    assert count("# TYPE cache_lookups_total counter\n").counters == Counters()
