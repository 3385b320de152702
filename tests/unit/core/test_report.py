"""The status: the same state gives the same words, and no word is too long or unknown."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cacherollout.api.ledger import Abort, Ledger, Release, load_ledger
from cacherollout.api.reasons import ConditionType, Phase, Reason
from cacherollout.api.status import MAX_MESSAGE, CacheRolloutStatus
from cacherollout.core.actions import CopyWork
from cacherollout.core.conditions import report
from cacherollout.core.decide import decide
from cacherollout.core.decisions import Decision
from cacherollout.core.facts import (
    CacheFacts,
    CoherenceFacts,
    FamilyProgress,
    NamespaceSize,
    Observed,
    Problem,
    WorkFacts,
)
from tests.factories import (
    NOW,
    RELEASE,
    SPEC,
    attempt,
    canary_pod,
    counters,
    ledger,
    measurement,
    observed,
    on_trial,
    pod,
    traffic,
    trial,
)

COPY = CopyWork(("user",), "v1", "v2")
CACHE = CacheFacts(
    used_memory=41,
    max_memory=100,
    works=(
        WorkFacts(
            COPY.key,
            families=(FamilyProgress("user", 250, 1000, coverage=0.254),),
            keys_per_second=12_345.6,
            eta_seconds=7.4,
        ),
    ),
    coherence=CoherenceFacts(is_coherent=True, lag_seconds=0.0012),
    sizes=(NamespaceSize("v1", 1000, 5000),),
)
BUSY = on_trial(
    stable_traffic=traffic(), canary_traffic=traffic(requests=100, failures=1, misses=500)
)
SCENES: dict[str, tuple[Ledger, Observed]] = {
    "not adopted": (Ledger(), observed()),
    "target missing": (Ledger(), observed(target=None)),
    "at rest": (ledger(), observed()),
    "succeeded": (ledger(succeeded="Promoted v2."), observed()),
    "rejected": (ledger(rejected=RELEASE, rejected_message="Rolled back v2."), observed()),
    "warming": (ledger(attempt=attempt(), attempts=1), trial(cache=CACHE)),
    "analyzing": (
        ledger(attempt=BUSY, attempts=1),
        trial(cache=CACHE, measurement=measurement(NOW, canary_1=counters())),
    ),
    "promoting": (ledger(attempt=replace(BUSY, promote_at=NOW - 5), attempts=1), trial()),
    "observing": (
        ledger(attempt=replace(BUSY, promote_at=NOW - 50, promoted_at=NOW - 5), attempts=1),
        trial(pods=tuple(pod(f"n-{i}", revision="rev-b", version="v2") for i in range(4))),
    ),
    "rolling back": (
        ledger(attempt=replace(BUSY, abort=Abort("GateFailed", "bad", NOW - 1)), attempts=1),
        trial(),
    ),
    "retiring": (ledger(retiring=("v0",)), observed(pods=())),
    "the cache is down": (
        ledger(attempt=BUSY, attempts=1),
        trial(cache=CacheFacts(problem=Problem(Reason.CACHE_UNAVAILABLE, "no answer"))),
    ),
    "the mirror is cut": (
        ledger(attempt=BUSY, attempts=1),
        trial(cache=CacheFacts(coherence=CoherenceFacts(is_coherent=False))),
    ),
}


def told(
    known: Ledger, facts: Observed, previous: dict[str, Any] | None = None, now: float = NOW
) -> dict[str, Any]:
    decision = decide(SPEC, known, facts, now)
    return report(SPEC, decision, facts, previous or {}, now, 3)


def condition(status: dict[str, Any], kind: ConditionType) -> dict[str, Any]:
    return next(each for each in status["conditions"] if each["type"] == kind)


@pytest.mark.parametrize("scene", SCENES)
def test_every_status_is_valid_and_says_every_condition_with_a_known_reason(scene: str) -> None:
    status = told(*SCENES[scene])
    CacheRolloutStatus.model_validate(status)
    assert [each["type"] for each in status["conditions"]] == [kind.value for kind in ConditionType]
    for each in status["conditions"]:
        Reason(each["reason"])
        assert each["message"]
        assert each["observedGeneration"] == 3
    assert status["observedGeneration"] == 3
    json.dumps(status)


@pytest.mark.parametrize("scene", SCENES)
def test_the_ledger_in_the_status_is_the_ledger(scene: str) -> None:
    known, facts = SCENES[scene]
    decision = decide(SPEC, known, facts, NOW)
    assert load_ledger(told(known, facts)["ledger"]) == decision.ledger


@pytest.mark.parametrize("scene", ["target missing", "at rest", "succeeded", "rejected"])
def test_a_steady_state_is_told_in_the_very_same_words(scene: str) -> None:
    known, facts = SCENES[scene]
    first = told(known, facts)
    again = told(load_ledger(first["ledger"]), facts, first, NOW + 3600)
    assert told(load_ledger(again["ledger"]), facts, again, NOW + 7200) == again == first


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    first = told(*SCENES["at rest"])
    then = told(*SCENES["warming"], first, NOW + 60)
    for kind, is_kept in ((ConditionType.READY, False), (ConditionType.HELD, True)):
        before, after = condition(first, kind), condition(then, kind)
        assert (before["lastTransitionTime"] == after["lastTransitionTime"]) is is_kept


TRUE: dict[str, set[str]] = {
    "at rest": {"Ready", "Held"},
    "not adopted": {"Ready", "Held"},
    "target missing": set(),
    "succeeded": {"Ready", "Held", "Promoted"},
    "rejected": {"Ready", "Held"},
    "warming": {"Reconciling", "Held", "CacheHealthy"},
    "analyzing": {"Reconciling", "Held", "Warmed", "CacheHealthy"},
    "promoting": {"Reconciling", "Held", "Warmed"},
    "observing": {"Reconciling", "Held", "Warmed", "Promoted"},
    "rolling back": {"Reconciling", "Held", "Warmed"},
    "retiring": {"Reconciling", "Held"},
    "the cache is down": {"Reconciling", "Held", "Warmed"},
    "the mirror is cut": {"Reconciling", "Held", "Warmed"},
}


@pytest.mark.parametrize("scene", TRUE)
def test_the_conditions_that_are_true(scene: str) -> None:
    status = told(*SCENES[scene])
    true = {each["type"] for each in status["conditions"] if each["status"] == "True"}
    assert true == TRUE[scene]


def test_a_cache_that_nobody_looked_at_is_not_called_healthy() -> None:
    said = condition(told(*SCENES["at rest"]), ConditionType.CACHE_HEALTHY)
    assert said["status"] == "Unknown"


def test_numbers_are_rounded_to_what_a_reader_can_use() -> None:
    status = told(*SCENES["warming"])
    assert status["warm"] == {
        "done": 250,
        "total": 1000,
        "coveragePercent": 25.4,
        "keysPerSecond": 12350.0,
        "etaSeconds": 7.0,
        "summary": "25 %",
        "families": [
            {
                "name": "user",
                "method": "Copy",
                "done": 250,
                "total": 1000,
                "coveragePercent": 25.4,
            }
        ],
    }
    assert status["cache"]["memoryPercent"] == 41
    assert status["cache"]["lagMs"] == 1.2
    assert status["versions"] == "v1→v2"


def test_both_sides_are_told() -> None:
    status = told(*SCENES["analyzing"])
    assert (status["stable"]["replicas"], status["stable"]["ready"]) == (4, 4)
    assert status["stable"]["requestsPercent"] == 90.9
    assert status["target"]["admitted"] == 1
    assert status["target"]["hitRatePercent"] == 75
    assert status["target"]["errorPercent"] == 1
    assert status["weightPercent"] == 20
    assert status["origin"]["ratio"] == 2
    assert {gate["name"] for gate in status["gates"]} >= {"httpErrorRate", "integrity"}


def test_the_states_of_the_versions() -> None:
    def states(scene: str) -> dict[str, str]:
        status = told(*SCENES[scene])
        return {each["name"]: each["state"] for each in status["cache"]["versions"]}

    assert states("analyzing") == {"v1": "Stable", "v2": "Target"}
    assert states("observing") == {"v1": "Returnable", "v2": "Target"}
    assert states("retiring") == {"v0": "Retiring", "v1": "Stable"}


def test_a_shared_namespace_has_nothing_to_warm() -> None:
    shared = attempt(release=Release("rev-b", "v1", fingerprints=SPEC.fingerprints()))
    status = told(ledger(attempt=shared, attempts=1), trial())
    assert "warm" not in status
    assert status["versions"] == "v1"


def test_without_ready_pods_the_weight_is_nothing() -> None:
    facts = trial(pods=(canary_pod(is_ready=False),))
    assert told(ledger(attempt=BUSY, attempts=1), facts)["weightPercent"] == 0


@pytest.mark.parametrize("length", [10, MAX_MESSAGE, MAX_MESSAGE + 1, 100_000])
def test_no_message_is_longer_than_the_api_takes(length: int) -> None:
    decision = Decision(ledger(), Phase.IDLE, Reason.UP_TO_DATE, "x" * length, next="y" * length)
    status = report(SPEC, decision, observed(), {}, NOW, 1)
    assert len(status["message"]) == min(length, MAX_MESSAGE)
    assert status["message"].endswith("…") is (length > MAX_MESSAGE)
    assert all(len(each["message"]) <= MAX_MESSAGE for each in status["conditions"])


def test_the_timeline_is_that_of_the_last_attempt() -> None:
    first = told(*SCENES["at rest"])
    assert [each["phase"] for each in first["timeline"]] == ["Idle"]
    facts = trial(canary=None, pods=observed().pods)
    then = told(load_ledger(first["ledger"]), facts, first, NOW + 5)
    assert then["timeline"] == [{"phase": "Warming", "at": "1970-01-12T13:46:45Z"}]
