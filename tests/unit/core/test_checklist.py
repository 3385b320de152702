"""The checklist before a release: each finding by itself, then what they add up to."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cacherollout.adapters.metrics.names import CONTRACT
from cacherollout.api.ledger import Attempt, Counters, Ledger, Release
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.cache_checks import amount
from cacherollout.core.checklist import CAP, Checklist, check, refuse
from cacherollout.core.facts import (
    CanaryFacts,
    Measurement,
    Observed,
    PodFacts,
    PodMeasurement,
    Problem,
    TargetFacts,
)
from cacherollout.core.readiness import (
    POINTS,
    CacheStock,
    FamilyStock,
    Item,
    Outcome,
    Seen,
    Unseen,
    listed,
)
from cacherollout.core.traffic_checks import SERIES

MIB = 1 << 20
USER = {"name": "user", "key": "user:{version}:{id}", "required": ["id"]}
ORDERS = {"name": "orders", "key": "order:{version}:list:{id}"}


def a_spec(
    version: str = "Auto", families: list[dict[str, Any]] | None = None, **more: Any
) -> CacheRolloutSpec:
    return CacheRolloutSpec.model_validate(
        {
            "targetRef": {"name": "api"},
            "cache": {
                "backendRef": {"name": "main"},
                "version": version,
                "families": families or [USER, ORDERS],
            },
            **more,
        }
    )


STABLE = Release("r1", "v2", fingerprints=a_spec().fingerprints())
TARGET = TargetFacts(
    uid="t",
    resource_version="1",
    revision="r1",
    is_paused=True,
    replicas=6,
    ready=6,
    is_complete=True,
    stated_version=None,
    running_version="v2",
    container="api",
    is_owned=True,
)
PODS = tuple(
    PodFacts(
        name=f"api-{number}",
        uid=f"p{number}",
        ip=f"10.0.0.{number}",
        is_canary=False,
        revision="r1",
        version="v2",
        is_ready=True,
        are_containers_ready=True,
        is_admitted=True,
    )
    for number in range(6)
)
OBSERVED = Observed(uid="u", name="api", generation=1, target=TARGET, pods=PODS)
FAMILIES = (
    FamilyStock("user", 1_000, 2 * MIB, 0, 299.0, 200, 0),
    FamilyStock("orders", 500, MIB, 0, 298.0, 200, 0),
)
STOCK = CacheStock(FAMILIES, 10 * MIB, 100 * MIB, 70 * MIB, "allkeys-lfu")


def measured(
    *, seconds: float = 5.0, foreign: float = 0.0, problem: Problem | None = None, **rates: float
) -> tuple[Measurement, Measurement]:
    """Two measurements of all pods; rates are of all pods together, per second."""
    rates = {
        "lookups": 600,
        "misses": 30,
        "operations": 600,
        "timed": 600,
        "requests": 300,
        "origin": 30,
        **rates,
    }

    def at(moment: float) -> Measurement:
        counters = Counters(
            **{name: rate / len(PODS) * (moment + 100) for name, rate in rates.items()}
        )
        pods = tuple(PodMeasurement(pod.uid, counters, foreign / len(PODS)) for pod in PODS)
        return Measurement(1_000 + moment, pods, problem)

    return at(0), at(seconds)


def seen(**parts: Any) -> Seen:
    """Everything in order, with parts replaced."""
    whole: dict[str, Any] = {
        "spec": a_spec(),
        "ledger": Ledger(target_uid="t", stable=STABLE, versions=("v1", "v2")),
        "is_acted_upon": True,
        "stall": "",
        "observed": OBSERVED,
        "prefixes": ("user:", "order:"),
        "cache": STOCK,
        "measurements": measured(),
    }
    return Seen(**{**whole, **parts})


def with_target(**changes: Any) -> Seen:
    return seen(observed=replace(OBSERVED, target=replace(TARGET, **changes)))


def with_ledger(**changes: Any) -> Seen:
    return seen(ledger=replace(seen().ledger, **changes))


def with_user(**changes: Any) -> CacheStock:
    return replace(STOCK, families=(replace(FAMILIES[0], **changes), FAMILIES[1]))


def item(name: str, what: Seen) -> Item:
    return next(each for each in check(what).items if each.name == name)


CHANGED = [{**USER, "schemaVersion": "2"}, ORDERS]
REPLAYED = [{**USER, "warm": "Replay", "replayPath": "/users/{id}"}, ORDERS]
OK, WARNING, FAILED, UNSEEN = Outcome

CASES: list[tuple[str, str, Seen, Outcome, str]] = [
    ("nobody acts on the spec", "operator", seen(is_acted_upon=False), FAILED, "has not acted"),
    ("it is stalled", "operator", seen(stall="the Secret is gone"), FAILED, "the Secret is gone"),
    ("it is paused", "operator", with_ledger(is_paused=True), WARNING, "resume it"),
    (
        "no Deployment",
        "target",
        seen(observed=replace(OBSERVED, target=None)),
        FAILED,
        "no Deployment api",
    ),
    ("no replicas", "target", with_target(replicas=0, ready=0), FAILED, "no replicas"),
    ("a pod is missing", "target", with_target(ready=5), FAILED, "5 of 6 pods"),
    ("held", "hold", seen(), OK, "v2 is stable"),
    (
        "two rollouts on one target",
        "hold",
        seen(observed=replace(OBSERVED, problem=Problem("TargetConflict", "an older one holds"))),
        FAILED,
        "an older one holds",
    ),
    (
        "nothing to hold",
        "hold",
        seen(observed=replace(OBSERVED, target=None)),
        UNSEEN,
        "no target",
    ),
    ("not adopted", "hold", with_ledger(stable=None), FAILED, "not adopted"),
    ("created again", "hold", with_ledger(target_uid="old"), FAILED, "`retry`"),
    ("not paused", "hold", with_target(is_paused=False), FAILED, "not paused"),
    (
        "a release is under way",
        "hold",
        with_ledger(attempt=Attempt(3, Release("r2", "v3"), started_at=1.0)),
        WARNING,
        "attempt 3 (v3)",
    ),
    (
        "the template was rolled back",
        "hold",
        seen(
            ledger=replace(seen().ledger, rejected=Release("r9", "v3")),
            observed=replace(OBSERVED, target=replace(TARGET, revision="r9")),
        ),
        WARNING,
        "rolled back (v3)",
    ),
    ("Auto", "version", seen(), OK, "gets v3 instead of v2"),
    (
        "Auto, with a changed schema",
        "version",
        seen(spec=a_spec(families=CHANGED)),
        OK,
        "the schema of user changed; the next release gets v3",
    ),
    (
        "OnSchemaChange without a change",
        "version",
        seen(spec=a_spec("OnSchemaChange")),
        OK,
        "shares v2",
    ),
    (
        "OnSchemaChange with a change",
        "version",
        seen(spec=a_spec("OnSchemaChange", CHANGED)),
        OK,
        "gets v3",
    ),
    ("a literal, unchanged", "version", seen(spec=a_spec("v2")), OK, "shares v2"),
    ("a literal, raised", "version", seen(spec=a_spec("v7", CHANGED)), OK, "gets v7"),
    (
        "a literal, not raised",
        "version",
        seen(spec=a_spec("v2", CHANGED)),
        FAILED,
        "spec.cache.version still says v2: raise it, or set it to Auto",
    ),
    (
        "the template's own, not raised yet",
        "version",
        replace(with_target(stated_version="v2"), spec=a_spec(families=CHANGED)),
        WARNING,
        "raise it from v2 with the release",
    ),
    (
        "the template's own, not raised in a new template",
        "version",
        replace(with_target(stated_version="v2", revision="r2"), spec=a_spec(families=CHANGED)),
        FAILED,
        "still says v2: raise it",
    ),
    (
        "a version that no key can hold",
        "version",
        with_target(stated_version="V 2"),
        FAILED,
        "cannot be part of a key",
    ),
    (
        "a version that is being retired",
        "version",
        replace(with_ledger(retiring=("v1",)), spec=a_spec("v1")),
        WARNING,
        "is being retired",
    ),
    ("one of seven", "canary", seen(), OK, "1 beside 6 pods, 14 % of the users"),
    (
        "half of the users",
        "canary",
        with_target(replicas=1, ready=1),
        WARNING,
        "1 beside 1 pods, 50 %",
    ),
    (
        "its name is taken",
        "canary",
        seen(observed=replace(OBSERVED, canary=CanaryFacts("c", False, 0, "", "", 1))),
        FAILED,
        "not ours",
    ),
    ("nobody to share with", "canary", with_target(replicas=0), UNSEEN, "share is unknown"),
    ("templates within", "keyPrefixes", seen(), OK, "all 2 key templates lie under user: and"),
    (
        "a template outside",
        "keyPrefixes",
        seen(prefixes=Unseen("families[0].key: …", is_failure=True)),
        FAILED,
        "families[0].key",
    ),
    (
        "a backend that may not be read",
        "keyPrefixes",
        seen(prefixes=Unseen("denied")),
        UNSEEN,
        "denied",
    ),
    (
        "a right is missing",
        "access",
        seen(cache=replace(STOCK, families=(), missing_rights=("COPY on user:*",))),
        FAILED,
        "COPY on user:*",
    ),
    ("the cache is out of reach", "access", seen(cache=Unseen("no route")), UNSEEN, "no route"),
    ("the cache is down", "access", seen(cache=Unseen("down", is_failure=True)), FAILED, "down"),
    ("keys in every family", "keys", seen(), OK, "1,500 keys of v2"),
    (
        "a family without keys",
        "keys",
        seen(cache=with_user(keys=0)),
        WARNING,
        "user has no key of v2, such as user:v2:{id}",
    ),
    (
        "no keys at all",
        "keys",
        seen(cache=replace(STOCK, families=(FamilyStock("user"), FamilyStock("orders")))),
        FAILED,
        "no family has a key",
    ),
    (
        "nothing else was looked at",
        "keys",
        seen(cache=replace(STOCK, families=(), missing_rights=("INFO",))),
        UNSEEN,
        "see access",
    ),
    ("usable values", "values", seen(), OK, "400 of 400"),
    (
        "a few unusable values",
        "values",
        seen(cache=with_user(corrupt=2, example="2 lack 'id'")),
        WARNING,
        "2 of 200",
    ),
    (
        "many unusable values",
        "values",
        seen(cache=with_user(corrupt=40, example="40 lack 'id'")),
        FAILED,
        "40 lack 'id'",
    ),
    (
        "unusable values of a family that changes anyway",
        "values",
        seen(spec=a_spec(families=CHANGED), cache=with_user(corrupt=200)),
        OK,
        "200 of 200 sampled values decode and carry their fields (user: new schema",
    ),
    (
        "no values",
        "values",
        seen(cache=replace(STOCK, families=(FamilyStock("user"), FamilyStock("orders")))),
        UNSEEN,
        "no values of v2",
    ),
    ("keys expire", "ttl", seen(), OK, "all 1,500 keys expire"),
    (
        "keys without a TTL",
        "ttl",
        seen(cache=with_user(keys_without_ttl=10)),
        WARNING,
        "1 % of the keys of user never expire",
    ),
    (
        "keys that live longer than declared",
        "ttl",
        seen(cache=with_user(longest_ttl_seconds=3_500.0)),
        WARNING,
        "user declares ttl: 300s, but its longest is 3500 s",
    ),
    (
        "keys that live shorter than declared",
        "ttl",
        seen(cache=with_user(longest_ttl_seconds=60.0)),
        WARNING,
        "grows cold",
    ),
    (
        "too few keys to tell that they live shorter",
        "ttl",
        seen(cache=with_user(keys=3, longest_ttl_seconds=60.0)),
        OK,
        "all 503 keys",
    ),
    (
        "no keys to expire",
        "ttl",
        seen(cache=replace(STOCK, families=(FamilyStock("user"), FamilyStock("orders")))),
        UNSEEN,
        "no keys",
    ),
    ("room for a copy", "memory", seen(), OK, "3.0 MiB more are needed and 70.0 MiB are left"),
    (
        "a shared version needs no room",
        "memory",
        seen(spec=a_spec("OnSchemaChange")),
        OK,
        "0 bytes more",
    ),
    ("too little room", "memory", seen(cache=replace(STOCK, headroom_bytes=MIB)), FAILED, "1.0 MiB"),
    (
        "above the ceiling already",
        "memory",
        seen(cache=replace(STOCK, headroom_bytes=-MIB)),
        FAILED,
        "0 bytes are left",
    ),
    (
        "scarce room",
        "memory",
        seen(cache=replace(STOCK, headroom_bytes=int(3.5 * MIB))),
        WARNING,
        "make room before",
    ),
    (
        "the gate would hold",
        "memory",
        seen(cache=replace(STOCK, used_bytes=89 * MIB)),
        FAILED,
        "at 90 % the gate redisMemory holds",
    ),
    (
        "no limit",
        "memory",
        seen(cache=replace(STOCK, limit_bytes=None, headroom_bytes=None)),
        WARNING,
        "no maxmemory",
    ),
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
        seen(spec=a_spec(families=REPLAYED), ledger=replace(seen().ledger, stable=replace(
            STABLE, fingerprints={}))),
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
        seen(measurements=measured(requests=30)),
        WARNING,
        "raise canary.replicas",
    ),
    ("no pods to compare", "httpErrorRate", with_target(replicas=0), UNSEEN, "unknown"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "what", "outcome", "said"),
    [pytest.param(*case[1:], id=f"{case[1]}: {case[0]}") for case in CASES],
)
def test_an_item_says_what_was_found(name: str, what: Seen, outcome: Outcome, said: str) -> None:
    found = item(name, what)
    assert said in found.message
    assert found.outcome is outcome


def test_points_make_a_hundred_and_every_item_is_there_once() -> None:
    assert sum(point.points for point in POINTS.values()) == 100
    assert [each.name for each in check(seen()).items] == list(POINTS)


@pytest.mark.parametrize(
    "what",
    [
        seen(observed=replace(OBSERVED, target=None, pods=())),
        with_ledger(stable=None),
        seen(cache=Unseen("x"), measurements=Unseen("y"), prefixes=Unseen("z")),
    ],
    ids=["no target", "not adopted", "nothing reachable"],
)
def test_every_item_is_there_whatever_was_seen(what: Seen) -> None:
    assert [each.name for each in check(what).items] == list(POINTS)


def test_everything_in_order_is_a_hundred() -> None:
    found = check(seen())
    assert [each for each in found.items if each.outcome is not OK] == []
    assert found.score == 100


def test_what_was_not_looked_at_earns_nothing() -> None:
    found = check(seen(cache=Unseen("no route")))
    lost = ("access", "keys", "values", "ttl", "memory")
    assert found.score == 100 - sum(POINTS[name].points for name in lost)


def test_a_warning_keeps_half_of_its_points() -> None:
    assert check(seen(cache=with_user(keys_without_ttl=10))).score == 100 - POINTS["ttl"].points / 2


def test_a_failure_that_stops_a_rollout_caps_the_score() -> None:
    found = check(with_target(is_paused=False))
    assert found.score == CAP
    assert [each.name for each in found.stoppers] == ["hold"]


def test_a_failure_that_stops_nothing_does_not_cap() -> None:
    found = Checklist(tuple(Item(name, FAILED if name == "canary" else OK, "") for name in POINTS))
    assert found.score == 100 - POINTS["canary"].points


def test_a_spec_that_cannot_be_acted_upon_fails_alone() -> None:
    found = refuse("spec.cache: wrong")
    assert [each.name for each in found.items] == list(POINTS)
    assert [each.message for each in found.with_outcome(FAILED)] == ["spec.cache: wrong"]
    assert found.score == 0


def test_the_named_series_are_those_of_the_contract() -> None:
    assert set(SERIES.values()) < {
        CONTRACT.lookups,
        CONTRACT.operations,
        CONTRACT.durations,
        CONTRACT.requests,
    } | {""}


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
    ],
)
def test_lists_are_read_aloud(names: list[str], text: str) -> None:
    assert listed(names) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"),
     (5 << 50, "5120.0 TiB")],
)  # fmt: skip
def test_bytes_are_read_in_a_unit(size: int, text: str) -> None:
    assert amount(size) == text


def test_longer_deadlines_turn_a_late_verdict_into_one_in_time() -> None:
    """The estimate and the deadline are compared, not the traffic with a fixed figure."""
    slow = measured(requests=3)
    outcome: Callable[[str], Outcome] = lambda deadline: (
        item(  # noqa: E731
            "httpErrorRate", seen(spec=a_spec(deadline=deadline), measurements=slow)
        ).outcome
    )
    assert [outcome("20m"), outcome("24h")] == [FAILED, OK]
