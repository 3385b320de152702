"""Releases that go wrong: what is undone, why, and what people are told."""

from math import inf

import pytest

from cacherollout.api.reasons import Phase, Reason
from tests.scenario.caching import TTL_SECONDS
from tests.scenario.clusters import App
from tests.scenario.loops import Scenario
from tests.scenario.test_releases import FAMILY, given_adopted, serves

BROKEN = {
    "values that nobody can read": (App(corrupt=0.2), Reason.GATE_FAILED, "integrity"),
    "cache errors": (App(cache_errors=0.02), Reason.GATE_FAILED, "cacheErrorRate"),
    "failed requests": (App(http_errors=0.02), Reason.GATE_FAILED, "httpErrorRate"),
    "slow cache operations": (App(slow=0.4), Reason.GATE_FAILED, "cacheLatency"),
    "lookups that miss": (App(hit_rate=0.3), Reason.GATE_FAILED, "cacheHitRate"),
    "keys of another version": (App(foreign=10), Reason.GATE_FAILED, "versionInUse"),
    "pods that never run": (App(starts_in=inf), Reason.CANARY_NOT_READY, "0 of 1 canary pods"),
    "cache operations that nobody counts": (
        App(counts_cache=False),
        Reason.DEADLINE_EXCEEDED,
        "cacheErrorRate",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_release_is_undone_and_named(fault: str) -> None:
    app, reason, word = BROKEN[fault]
    world = given_adopted()
    pods = {pod.name for pod in world.pods}
    world.apps["b"] = app
    world.deploy("b")
    world.settle()
    assert world.phase == Phase.ROLLED_BACK
    assert world.reason == Reason.REJECTED_REVISION_HELD
    assert world.ledger.rejected_reason == reason
    assert word in world.status["message"]
    assert "v1 serves" in world.status["message"]
    assert serves(world, "a", "v1")
    assert {pod.name for pod in world.pods} == pods
    assert len(world.said(Reason.ROLLED_BACK)) == 1


def test_what_the_gates_said_can_be_read_after_the_pods_are_gone() -> None:
    world = given_adopted()
    world.apps["b"] = App(corrupt=0.2)
    world.deploy("b")
    world.settle()
    undone = world.ledger.undone
    assert undone is not None
    assert undone.abort is not None
    said = {item.gate: item.verdict for item in undone.abort.judgements}
    assert said["integrity"] == "Fail"
    assert said["httpErrorRate"] != "Fail"
    assert (undone.abort.stable_version, undone.counted) == ("v1", ())
    assert undone.abort.undone_at is not None
    assert undone.abort.undone_at >= undone.abort.at
    assert {item["name"]: item["verdict"] for item in world.status["gates"]} == said
    world.apps["c"] = App()
    world.deploy("c")
    world.settle()
    assert world.phase == Phase.SUCCEEDED
    assert world.status["gates"] == [], "of another release"
    assert world.ledger.undone == undone, "a report can still be asked for"


def test_a_canary_that_crashes_under_traffic_is_undone() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Analyzing")
    world.run(5)

    def crash() -> bool:
        for pod in world.pods:
            pod.is_crashing = pod.is_canary
        return world.phase == Phase.ROLLED_BACK

    world.until(crash)
    assert world.ledger.rejected_reason == Reason.CANARY_NOT_READY
    assert "CrashLoopBackOff" in world.status["message"]


def test_one_crashing_canary_pod_of_two_keeps_the_release_from_being_promoted() -> None:
    world = given_adopted(soak="60s")
    world.deploy("b")
    world.until(lambda: sum(pod.is_canary for pod in world.serving()) == 2)

    def crash() -> bool:
        for pod in [pod for pod in world.pods if pod.is_canary][:1]:
            pod.is_crashing = True
        return world.phase == Phase.ROLLED_BACK

    world.until(crash)
    assert "Promoting" not in world.oracle.phases


def test_a_killed_canary_pod_is_replaced_and_admitted_again() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Analyzing")
    world.run(5)
    world.kill_pod(is_canary=True)
    world.settle()
    assert serves(world, "b", "v2")


@pytest.fixture
def observed() -> Scenario:
    """A release in its roll-back window."""
    world = given_adopted()
    world.deploy("b")
    world.until("Observing")
    world.run(5)
    return world


def warm_old_version(world: Scenario) -> bool:
    return world.cache.warmth("v1") > 0.8


def test_late_regressions_are_undone_onto_a_cache_that_is_still_warm(observed: Scenario) -> None:
    assert warm_old_version(observed)
    observed.apps["b"] = App(http_errors=0.05)
    observed.until("RollingBack")
    assert warm_old_version(observed)
    observed.until(lambda: observed.deployment.template.image == "a")
    observed.run(10)
    assert warm_old_version(observed)
    observed.settle()
    assert observed.phase == Phase.ROLLED_BACK
    assert serves(observed, "a", "v1")
    assert observed.deployment.entry is None


def test_keys_that_no_mirror_refreshes_outlive_their_ttl_for_a_roll_back() -> None:
    family = {**FAMILY, "warm": "Replay", "replayPath": "/users/{id}"}
    cache = {"backendRef": {"name": "main"}, "families": [family]}
    world = given_adopted(cache=cache, rollbackWindow="10m", deadline="20m")
    world.deploy("b")
    world.until("Observing")
    world.run(4 * TTL_SECONDS)
    assert warm_old_version(world)
    world.apps = {"a": App(starts_in=TTL_SECONDS), "b": App(http_errors=0.05)}
    world.until(lambda: world.deployment.template.image == "a")
    while world.phase == Phase.ROLLING_BACK:
        assert warm_old_version(world)
        world.run(5)
    assert serves(world, "a", "v1")


def test_a_person_may_roll_back_in_the_window(observed: Scenario) -> None:
    observed.ask("abort")
    observed.settle()
    assert observed.ledger.rejected_reason == Reason.ABORT_REQUESTED
    assert serves(observed, "a", "v1")
    assert observed.rollout.annotations == {}


def test_reapplying_the_stable_template_rolls_back_in_the_window(observed: Scenario) -> None:
    observed.deploy("a")
    observed.settle()
    assert serves(observed, "a", "v1")
    assert observed.ledger.rejected is None
    observed.deploy("b")
    observed.settle()
    assert serves(observed, "b", "v3")


def test_a_literal_version_is_rolled_back_with_its_template() -> None:
    world = given_adopted()
    world.deploy("b", "v7")
    world.until("Observing")
    world.apps["b"] = App(http_errors=0.05)
    world.settle()
    assert serves(world, "a", "v1")
    assert world.deployment.template.stated is None


def test_a_version_of_the_spec_is_rolled_back_and_stays_rejected() -> None:
    world = given_adopted()
    world.edit_spec(cache={"version": "v9"})
    world.until("Observing")
    world.apps["a"] = App(http_errors=0.05)
    world.until("RollingBack")
    world.apps["a"] = App()
    world.settle()
    assert serves(world, "a", "v1")
    assert world.reason == Reason.REJECTED_REVISION_HELD


def test_a_rejected_release_stays_held_until_something_changes() -> None:
    world = given_adopted()
    world.apps["b"] = App(http_errors=0.05)
    world.deploy("b")
    world.settle()
    world.run(600)
    assert world.ledger.attempts == 1
    world.deploy("b")
    world.settle()
    assert world.ledger.attempts == 1
    world.deploy("c")
    world.settle()
    assert serves(world, "c", "v3")


def test_a_rejected_release_is_tried_again_on_request_under_a_new_number() -> None:
    world = given_adopted()
    world.apps["b"] = App(http_errors=0.05)
    world.deploy("b")
    world.settle()
    world.apps["b"] = App()
    world.ask("retry/rev-b")
    world.settle()
    assert serves(world, "b", "v3")
    assert world.ledger.attempts == 2


def test_taking_the_rejected_template_back_leaves_the_stable_one() -> None:
    world = given_adopted()
    world.apps["b"] = App(http_errors=0.05)
    world.deploy("b")
    world.settle()
    world.deploy("a")
    world.settle()
    assert world.phase == Phase.ROLLED_BACK
    assert world.reason == Reason.ROLLED_BACK
    assert serves(world, "a", "v1")


def test_both_sides_bad_holds_then_gives_up_and_blames_the_environment() -> None:
    world = given_adopted(soak="60s")
    world.deploy("b")
    world.until("Analyzing")
    world.run(6)
    world.apps = {"a": App(http_errors=0.05), "b": App(http_errors=0.05)}
    world.until(lambda: world.reason == Reason.GATE_HOLD)
    assert world.phase == Phase.ANALYZING
    held = world.now
    world.until("RollingBack")
    assert world.now - held >= 290
    world.settle()
    assert Reason.SHARED_DEPENDENCY_DEGRADED in {said.reason for said in world.says}
    assert world.ledger.attempts == 1
    assert serves(world, "a", "v1")


def test_both_sides_bad_for_a_while_is_only_held() -> None:
    world = given_adopted(soak="60s")
    world.deploy("b")
    world.until("Analyzing")
    world.run(6)
    world.apps = {"a": App(http_errors=0.05), "b": App(http_errors=0.05)}
    world.until(lambda: world.reason == Reason.GATE_HOLD)
    world.run(100)
    world.apps = {}
    world.settle()
    assert serves(world, "b", "v2")


def test_a_hold_for_silence_does_not_count_towards_a_hold_for_a_sick_environment() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Analyzing")
    world.rps = 0
    world.run(400)
    world.rps = 1000
    world.apps = {"a": App(http_errors=0.05), "b": App(http_errors=0.05)}
    world.until(lambda: world.reason == Reason.GATE_HOLD)
    world.run(60)
    assert world.phase == Phase.ANALYZING


def test_a_release_that_gets_no_verdict_is_undone_at_the_deadline() -> None:
    world = given_adopted()
    world.rps = 20
    world.deploy("b")
    world.settle()
    assert world.ledger.rejected_reason == Reason.DEADLINE_EXCEEDED
    assert serves(world, "a", "v1")


def test_a_namespace_that_does_not_get_warm_is_given_up_at_the_deadline() -> None:
    world = given_adopted()
    world.cache.is_stuck = True
    world.deploy("b")
    world.until("RollingBack")
    world.cache.is_stuck = False
    world.settle()
    assert world.ledger.rejected_reason == Reason.DEADLINE_EXCEEDED
    assert serves(world, "a", "v1")


def test_a_gate_that_fails_during_the_promotion_undoes_it() -> None:
    world = given_adopted()
    world.apps["b"] = App(starts_in=15)
    world.deploy("b")
    world.until("Promoting")
    world.apps["b"] = App(starts_in=15, http_errors=0.05)
    world.settle()
    assert world.ledger.rejected_reason == Reason.GATE_FAILED
    assert "Observing" not in world.oracle.phases
    assert serves(world, "a", "v1")


def test_both_sides_bad_during_the_promotion_holds_it_then_gives_up() -> None:
    world = given_adopted()
    world.apps["b"] = App(starts_in=15)
    world.deploy("b")
    world.until("Promoting")
    world.cache.used_memory = 950
    world.until("RollingBack")
    world.cache.used_memory = 100
    world.settle()
    assert world.ledger.rejected_reason == Reason.SHARED_DEPENDENCY_DEGRADED
    assert serves(world, "a", "v1")


def test_a_late_roll_back_without_its_snapshot_finds_the_template_in_the_history() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Observing")
    world.snapshots.clear()
    world.ask("abort")
    world.settle()
    assert serves(world, "a", "v1")


def test_a_promotion_that_does_not_get_on_is_undone_at_the_deadline() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Promoting")
    world.apps["b"] = App(starts_in=inf)
    world.oracle.disturb()
    for pod in world.pods:
        if pod.is_canary:
            pod.born_at = -inf
    world.until("RollingBack")
    world.settle()
    assert world.ledger.rejected_reason == Reason.DEADLINE_EXCEEDED
    assert serves(world, "a", "v1")
