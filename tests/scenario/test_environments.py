"""What the world does to a rollout: scaling, deaths, outages, silence, missing things."""

import pytest

from cacherollout.api.names import Key
from cacherollout.api.reasons import Phase, Reason
from tests.factories import attempt
from tests.scenario.clusters import App, Canary, Template
from tests.scenario.loops import Scenario
from tests.scenario.test_releases import FAMILY, given_adopted, serves
from tests.scenario.world import SPEC

PHASES = ("Idle", "Warming", "Analyzing", "Promoting", "Observing")
LATE = PHASES[1:]


def given_release_in(phase: str, **spec: object) -> Scenario:
    world = given_adopted(**spec)
    if phase != "Idle":
        world.deploy("b")
        world.until(phase)
        world.run(3)
    return world


@pytest.mark.parametrize("replicas", [1, 9])
@pytest.mark.parametrize("phase", PHASES)
def test_an_autoscaler_may_scale_in_every_phase(phase: str, replicas: int) -> None:
    world = given_release_in(phase)
    world.scale(replicas)
    world.run(20)
    world.scale(4)
    world.settle()
    assert serves(world, *(("a", "v1") if phase == "Idle" else ("b", "v2")))
    assert world.ledger.attempts == (0 if phase == "Idle" else 1)


def test_scaling_down_takes_the_canary_along() -> None:
    world = given_adopted(soak="200s", deadline="5m", canary={"replicas": "50%"})
    world.scale(8)
    world.settle()
    world.deploy("b")
    world.until("Analyzing")
    world.run(5)
    assert sum(pod.is_canary for pod in world.serving()) == 4
    world.scale(2)
    world.run(10)
    assert sum(pod.is_canary for pod in world.serving()) == 1
    world.settle()
    assert serves(world, "b", "v2")


@pytest.mark.parametrize("is_canary", [False, True])
@pytest.mark.parametrize("phase", PHASES)
def test_killed_pods_change_nothing_in_the_end(phase: str, is_canary: bool) -> None:
    world = given_release_in(phase)
    for _ in range(3):
        world.kill_pod(is_canary=is_canary)
        world.run(4)
    world.settle()
    assert serves(world, *(("a", "v1") if phase == "Idle" else ("b", "v2")))


@pytest.mark.parametrize("phase", LATE)
def test_an_outage_of_the_cache_is_waited_out(phase: str) -> None:
    world = given_release_in(phase)
    world.cache.is_down = True
    world.run(400)
    # Keys cannot be kept in a dead cache: the window ends at its deadline all the same.
    assert world.phase == ("Retiring" if phase == "Observing" else phase)
    assert world.condition("CacheHealthy")["status"] == "False"
    world.cache.is_down = False
    world.settle()
    assert serves(world, "b", "v2")
    assert world.ledger.attempts == 1


def test_nothing_is_begun_while_the_cache_is_down() -> None:
    world = given_adopted()
    world.cache.is_down = True
    world.deploy("b")
    world.run(60)
    assert world.phase == Phase.PENDING
    assert world.reason == Reason.CACHE_UNAVAILABLE
    assert world.canary is None
    world.cache.is_down = False
    world.settle()
    assert serves(world, "b", "v2")


def test_an_outage_while_keys_are_removed_is_waited_out() -> None:
    world = given_release_in("Observing")
    world.until("Retiring")
    world.cache.is_down = True
    world.run(100)
    assert world.phase == Phase.RETIRING
    assert "waits: The cache at" in world.status["message"]
    world.cache.is_down = False
    world.settle()
    assert serves(world, "b", "v2")


def test_a_mirror_that_lost_its_connection_holds_every_step() -> None:
    world = given_release_in("Analyzing")
    world.cache.is_cut = True
    world.run(100)
    assert world.phase == Phase.ANALYZING
    assert world.reason == Reason.CACHE_UNAVAILABLE
    world.cache.is_cut = False
    world.settle()
    assert serves(world, "b", "v2")


@pytest.mark.parametrize("phase", ["Warming", "Analyzing", "Promoting"])
def test_without_metrics_nothing_is_promoted_and_nothing_undone(phase: str) -> None:
    world = given_adopted()
    world.deploy("b")
    world.until(phase)
    world.has_metrics = False
    world.run(500)
    assert world.phase == phase
    assert world.reason == Reason.METRICS_UNAVAILABLE
    assert world.condition("Stalled")["status"] == "True"
    world.has_metrics = True
    world.settle()
    assert serves(world, "b", "v2")


@pytest.mark.parametrize("phase", ["Warming", "Analyzing", "Promoting"])
def test_without_traffic_nothing_is_promoted_and_nothing_undone(phase: str) -> None:
    world = given_adopted()
    world.apps["b"] = App(starts_in=20)
    world.deploy("b")
    world.until(phase)
    world.rps = 0.0
    world.run(500)
    assert world.phase == phase
    assert world.reason == Reason.NO_DATA
    world.rps = 1000.0
    world.settle()
    assert serves(world, "b", "v2")


def test_a_full_cache_holds_and_then_frees_the_new_keys() -> None:
    world = given_release_in("Analyzing")
    world.cache.used_memory = 950
    world.until("RollingBack")
    world.cache.used_memory = 500
    world.settle()
    assert world.ledger.rejected_reason == Reason.SHARED_DEPENDENCY_DEGRADED
    assert serves(world, "a", "v1")


def test_the_load_on_the_origin_paces_the_promotion() -> None:
    family = {**FAMILY, "warm": "Replay", "replayPath": "/users/{id}"}
    world = given_adopted(
        cache={"backendRef": {"name": "main"}, "families": [family]},
        originLoad={"budget": 1.5},
        deadline="10m",
    )
    world.apps["b"] = App(hit_rate=0.85, starts_in=12)
    world.deploy("b")
    world.until("Promoting")
    world.until(lambda: world.reason == Reason.ORIGIN_BUSY)
    assert world.deployment.is_paused
    old = [pod for pod in world.target_pods() if pod.template.image == "a"]
    assert old
    world.run(60)
    assert [pod for pod in world.target_pods() if pod.template.image == "a"] == old
    world.apps["b"] = App()
    world.settle()
    assert serves(world, "b", "v2")
    assert world.said(Reason.PROMOTION_PACED)


def test_no_release_begins_on_top_of_errors_that_its_warm_up_may_have_caused() -> None:
    family = {**FAMILY, "warm": "Replay", "replayPath": "/users/{id}"}
    world = given_adopted(cache={"backendRef": {"name": "main"}, "families": [family]})
    world.apps["b"] = App(starts_in=30)
    world.deploy("b")
    world.until(lambda: (world.ledger.attempt or attempt()).baseline_ticks >= 3)
    world.apps["a"] = App(http_errors=0.2)
    world.until(lambda: world.reason == Reason.GATE_HOLD)
    assert "v1, answers 20.0 % of requests with 5xx" in world.status["message"]
    world.run(120)
    assert world.phase == Phase.WARMING
    assert not [pod for pod in world.serving() if pod.is_canary]
    world.apps = {"a": App(), "b": App()}
    world.settle()
    assert serves(world, "b", "v2")


def test_a_cure_is_warmed_though_the_stable_version_always_failed() -> None:
    world = given_adopted()
    world.apps["a"] = App(http_errors=0.2)
    world.run(30)
    world.deploy("b")
    world.settle()
    assert serves(world, "b", "v2")


def test_a_missing_target_is_waited_for() -> None:
    world = Scenario()
    target, world.target = world.target, None
    world.settle()
    assert world.reason == Reason.TARGET_MISSING
    world.target = target
    world.changed = True
    world.settle()
    assert world.phase == Phase.IDLE


@pytest.mark.parametrize("phase", PHASES)
def test_a_target_that_is_deleted_takes_its_canary_along(phase: str) -> None:
    world = given_release_in(phase)
    world.delete_target()
    world.settle()
    assert world.reason == Reason.TARGET_MISSING
    assert world.pods == []


@pytest.mark.parametrize("phase", PHASES)
def test_a_replaced_target_is_adopted_only_when_somebody_asks(phase: str) -> None:
    world = given_release_in(phase)
    world.oracle.is_leaked = True
    world.replace_target("z")
    world.settle()
    assert world.reason == Reason.TARGET_REPLACED
    assert world.condition("Stalled")["status"] == "True"
    assert not world.deployment.is_paused
    assert world.canary is None
    world.ask("retry")
    world.settle()
    assert world.deployment.is_paused
    assert world.ledger.stable is not None
    assert world.ledger.stable.revision == "rev-z"
    assert set(world.cache.namespaces) <= {"v1"} or phase == "Observing"
    world.deploy("y")
    world.settle()
    assert {pod.template.image for pod in world.pods} == {"y"}


def test_a_target_at_zero_replicas_is_adopted_once_it_runs() -> None:
    world = Scenario(replicas=0)
    world.settle()
    assert world.reason == Reason.TARGET_NOT_READY
    assert not world.deployment.is_paused
    world.scale(4)
    world.settle()
    assert world.phase == Phase.IDLE
    assert world.deployment.is_paused


def test_a_release_at_zero_replicas_needs_no_gate_but_gets_its_own_version() -> None:
    world = given_adopted()
    world.scale(0)
    world.settle()
    world.deploy("b")
    world.settle()
    world.scale(4)
    world.settle()
    assert serves(world, "b", "v2")
    assert world.ledger.attempts == 0


@pytest.mark.parametrize("phase", LATE)
def test_scaling_to_zero_and_back_ends_in_the_release(phase: str) -> None:
    world = given_release_in(phase)
    world.scale(0)
    world.run(20)
    assert world.serving() == []
    world.scale(4)
    world.settle()
    assert {pod.template.image for pod in world.pods} == {"b"}
    assert world.deployment.is_paused
    assert world.canary is None


def test_a_missing_backend_is_named_and_waited_for() -> None:
    world = Scenario()
    world.has_backend = False
    world.settle()
    assert world.reason == Reason.BACKEND_MISSING
    assert world.condition("Stalled")["status"] == "True"
    assert not world.deployment.is_paused
    world.has_backend = True
    world.changed = True
    world.settle()
    assert world.phase == Phase.IDLE


def test_a_backend_that_goes_away_during_a_release_is_waited_for() -> None:
    world = given_release_in("Analyzing")
    world.has_backend = False
    world.run(300)
    assert world.reason == Reason.BACKEND_MISSING
    assert world.phase == Phase.ANALYZING
    world.has_backend = True
    world.settle()
    assert serves(world, "b", "v2")


def test_of_two_rollouts_on_one_target_the_older_holds_it() -> None:
    world = given_adopted()
    world.create(Key("shop", "rival"), **SPEC)
    world.settle()
    rival = world.stored[Key("shop", "rival")]
    ready = next(each for each in rival.status["conditions"] if each["type"] == "Ready")
    assert ready["reason"] == Reason.TARGET_CONFLICT
    assert not rival.has_finalizer
    world.deploy("b")
    world.settle()
    assert serves(world, "b", "v2")
    world.delete()
    world.until(lambda: len(world.stored) == 1)
    world.changed = True
    world.run(5)
    ledger = rival.status["ledger"]
    assert ledger["stable"]["revision"] == "rev-b"
    assert world.deployment.is_paused


def test_a_foreign_deployment_with_the_canarys_name_is_left_alone() -> None:
    world = given_adopted()
    theirs = Canary("uid-theirs", "", 0, Template("x"), "", 1)
    world.canary = theirs
    world.deploy("b")
    world.run(300)
    assert world.canary is theirs
    assert world.reason == Reason.NAME_CONFLICT
    assert world.condition("Stalled")["status"] == "True"
    world.canary = None
    world.settle()
    assert serves(world, "b", "v2")


def test_a_foreign_deployment_with_the_canarys_name_does_not_stop_a_promotion() -> None:
    world = given_release_in("Promoting")
    world.end_canary()
    world.canary = Canary("uid-theirs", "", 0, Template("x"), "", 1)
    world.run(60)
    assert world.phase == Phase.SUCCEEDED
    assert world.canary is not None


def test_a_canary_that_somebody_deletes_is_made_anew() -> None:
    world = given_release_in("Analyzing")
    world.end_canary()
    world.changed = True
    world.settle()
    assert serves(world, "b", "v2")
    assert world.ledger.attempts == 1


def test_a_canary_that_dies_with_the_cache_does_not_leave_the_promotion_without_eyes() -> None:
    world = given_adopted()
    world.apps["b"] = App(starts_in=20)
    world.deploy("b")
    world.until("Promoting")
    world.cache.is_down = True
    world.kill_pod(is_canary=True)
    world.run(60)
    world.cache.is_down = False
    world.settle()
    assert serves(world, "b", "v2")


@pytest.mark.parametrize("phase", LATE)
def test_lost_snapshots_are_made_up_for(phase: str) -> None:
    world = given_release_in(phase)
    world.snapshots.clear()
    world.settle()
    assert serves(world, "b", "v2")


def test_a_late_roll_back_works_without_its_snapshot_while_old_pods_are_known() -> None:
    world = given_release_in("Promoting")
    world.snapshots.clear()
    world.ask("abort")
    world.settle()
    assert serves(world, "a", "v1")


def test_a_version_that_cannot_be_part_of_keys_is_refused_with_the_fix() -> None:
    world = given_adopted()
    world.deploy("b", "v*")
    world.settle()
    assert world.reason == Reason.INVALID_SPEC
    assert "Write a version such as v3" in world.status["message"]
    assert serves(world, "a", "v1")
    world.deploy("b", "v3")
    world.settle()
    assert serves(world, "b", "v3")


def test_the_finalizer_is_put_back() -> None:
    world = given_adopted()
    world.rollout.has_finalizer = False
    world.changed = True
    world.settle()
    assert world.rollout.has_finalizer
