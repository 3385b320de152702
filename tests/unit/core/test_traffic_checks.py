"""The pods' counters and the gates' time to a verdict: each finding by itself."""

from dataclasses import replace

import pytest

from cacherollout.adapters.metrics.names import CONTRACT
from cacherollout.core.facts import Problem
from cacherollout.core.readiness import Outcome, Seen, Unseen
from cacherollout.core.traffic_checks import SERIES
from tests.unit.core.sightings import (
    FAILED,
    OK,
    REPLAYED,
    STABLE,
    UNSEEN,
    WARNING,
    a_spec,
    item,
    measured,
    seen,
    with_target,
)

CASES: list[tuple[str, str, Seen, Outcome, str]] = [
    ("every pod answers", "metrics", seen(), OK, "6 of 6 pods"),
    (
        "a pod does not answer",
        "metrics",
        seen(measurements=measured(problem=Problem("MetricsUnavailable", "1 of 6 pods gave none"))),
        WARNING,
        "1 of 6",
    ),
    ("out of reach", "metrics", seen(measurements=Unseen("no route")), UNSEEN, "no route"),
    ("gates without counters", "httpErrorRate", seen(measurements=Unseen("x")), UNSEEN, "metrics"),
    ("its own version", "versionInUse", seen(), OK, "own version only"),
    (
        "another version",
        "versionInUse",
        seen(measurements=measured(foreign=3_000.0)),
        FAILED,
        "3,000 of",
    ),
    ("no lookups", "versionInUse", seen(measurements=measured(lookups=0)), UNSEEN, "no lookup"),
    (
        "a series is missing",
        "cacheErrorRate",
        seen(measurements=measured(operations=0)),
        FAILED,
        "cache_operations_total",
    ),
    (
        "no traffic",
        "httpErrorRate",
        seen(measurements=(measured()[0], replace(measured()[0], at=1_005.0))),
        FAILED,
        "nothing was counted in 5 s",
    ),
    ("enough traffic", "httpErrorRate", seen(), OK, "300 counted a second: a verdict in about"),
    (
        "the stable version misses the target",
        "cacheHitRate",
        seen(measurements=measured(misses=300)),
        FAILED,
        "1,500 of 3,000 lookups missed the cache, above the 20 %",
    ),
    (
        "a family starts with values of its own",
        "cacheHitRate",
        seen(
            spec=a_spec(families=REPLAYED),
            ledger=replace(seen().ledger, stable=replace(STABLE, fingerprints={})),
        ),
        OK,
        "reported, not judged: user and orders starts",
    ),
    (
        "traffic that tells too late",
        "httpErrorRate",
        seen(measurements=measured(requests=3)),
        FAILED,
        "even at canary.maxReplicas, past the deadline of 20 min",
    ),
    (
        "traffic that tells in time at the largest canary alone",
        "httpErrorRate",
        seen(measurements=measured(requests=15)),
        WARNING,
        "raise canary.replicas",
    ),
    (
        "next to no traffic",
        "httpErrorRate",
        seen(measurements=measured(requests=0.001)),
        FAILED,
        "more than a week",
    ),
    (
        "a soak of seconds",
        "httpErrorRate",
        seen(spec=a_spec(soak="20s"), measurements=measured(requests=30_000)),
        OK,
        "about 20 s (soak 20 s)",
    ),
    ("no pods to compare", "httpErrorRate", with_target(replicas=0), UNSEEN, "unknown"),
]


@pytest.mark.parametrize(
    ("name", "what", "outcome", "said"),
    [pytest.param(*case[1:], id=f"{case[1]}: {case[0]}") for case in CASES],
)
def test_an_item_says_what_was_found(name: str, what: Seen, outcome: Outcome, said: str) -> None:
    found = item(name, what)
    assert said in found.message
    assert found.outcome is outcome


def test_the_named_series_are_those_of_the_contract() -> None:
    assert set(SERIES.values()) == {
        CONTRACT.lookups,
        CONTRACT.operations,
        CONTRACT.durations,
        CONTRACT.requests,
    }


@pytest.mark.parametrize(("deadline", "outcome"), [("20m", FAILED), ("24h", OK)])
def test_the_estimate_is_compared_with_the_deadline(deadline: str, outcome: Outcome) -> None:
    slow = seen(spec=a_spec(deadline=deadline), measurements=measured(requests=3))
    assert item("httpErrorRate", slow).outcome is outcome
