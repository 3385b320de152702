"""Releases that go well, whoever states the version."""

from cacherollout.api.reasons import Phase, Reason
from tests.scenario.clusters import App
from tests.scenario.loops import Scenario

FAMILY = {"name": "user", "key": "user:{version}:{id}"}


def given_adopted(**spec: object) -> Scenario:
    world = Scenario(**spec)
    world.settle()
    return world


def serves(world: Scenario, image: str, version: str) -> bool:
    """Everybody runs this, the target is held, and nothing else is left."""
    pods = {(pod.template.image, pod.version or "v1") for pod in world.pods}
    target = world.deployment
    return (
        pods == {(image, version)}
        and len(world.pods) == target.replicas
        and target.is_paused
        and world.canary is None
        and set(world.cache.namespaces) == {version}
    )


def test_adopting_holds_the_target_and_restarts_nothing() -> None:
    world = Scenario()
    before = [pod.name for pod in world.pods]
    world.settle()
    assert world.phase == Phase.IDLE
    assert world.deployment.is_paused
    assert world.rollout.has_finalizer
    assert [pod.name for pod in world.pods] == before
    assert world.deployment.entry is None
    assert world.ledger.stable is not None
    assert world.ledger.stable.version == "v1"


def test_a_release_is_warmed_judged_promoted_and_its_predecessor_removed() -> None:
    world = given_adopted()
    world.deploy("b")
    world.settle()
    assert world.oracle.phases[1:] == [
        "Warming",
        "Analyzing",
        "Promoting",
        "Observing",
        "Retiring",
        "Succeeded",
    ]
    assert serves(world, "b", "v2")
    assert world.cache.retired == ["v1"]
    assert set(world.snapshots) == {"rev-b"}
    assert len(world.said(Reason.SUCCEEDED)) == 1


def test_the_operator_allots_the_next_number_each_time() -> None:
    world = given_adopted()
    for image, version in (("b", "v2"), ("c", "v3"), ("d", "v4")):
        world.deploy(image)
        world.settle()
        assert serves(world, image, version)


def test_a_version_stated_in_the_template_wins() -> None:
    world = given_adopted()
    world.deploy("b", "v7")
    world.settle()
    assert serves(world, "b", "v7")
    assert world.deployment.entry is None


def test_a_version_stated_in_the_spec_is_a_release_of_the_same_template() -> None:
    world = given_adopted()
    world.edit_spec(cache={"version": "v9"})
    world.settle()
    assert serves(world, "a", "v9")


def test_a_template_that_states_the_stable_version_shares_its_namespace() -> None:
    world = given_adopted()
    world.deploy("b", "v1")
    world.settle()
    assert serves(world, "b", "v1")
    assert world.cache.retired == []
    assert "Retiring" not in world.oracle.phases


def test_with_on_schema_change_an_unchanged_schema_shares_the_namespace() -> None:
    world = Scenario(cache={**given_cache(), "version": "OnSchemaChange"})
    world.settle()
    world.deploy("b")
    world.settle()
    assert serves(world, "b", "v1")


def test_with_on_schema_change_a_changed_schema_gets_its_own_namespace() -> None:
    world = Scenario(cache={**given_cache(), "version": "OnSchemaChange"})
    world.settle()
    family = {**FAMILY, "schemaVersion": "2", "replayPath": "/users/{id}"}
    world.edit_spec(cache={"families": [family]})
    assert world.phase == Phase.IDLE
    world.deploy("b")
    world.settle()
    assert serves(world, "b", "v2")


def test_a_schema_that_changes_right_after_the_template_begins_the_attempt_anew() -> None:
    """One commit, two objects: whichever arrives first, nothing is copied that must not be."""
    world = given_adopted()
    world.deploy("b")
    world.until("Warming")
    family = {**FAMILY, "schemaVersion": "2", "replayPath": "/users/{id}"}
    world.edit_spec(cache={"families": [family]})
    world.settle()
    assert serves(world, "b", "v3")
    assert world.ledger.attempts == 2


def test_a_literal_after_auto_and_auto_after_a_literal() -> None:
    world = given_adopted()
    world.deploy("b")
    world.settle()
    world.deploy("c", "v5")
    world.settle()
    assert serves(world, "c", "v5")
    world.deploy("d")
    world.settle()
    assert serves(world, "d", "v6")


def test_a_version_that_was_retired_may_be_asked_for_again() -> None:
    world = given_adopted()
    for image, version in (("b", "v2"), ("c", "v1"), ("b", "v2")):
        world.deploy(image, version)
        world.settle()
        assert serves(world, image, version)


def test_a_former_version_waits_until_its_old_keys_are_gone() -> None:
    world = given_adopted()
    world.deploy("b", "v2")
    world.until("Observing")
    world.deploy("c", "v1")
    world.settle()
    assert serves(world, "c", "v1")


def test_a_family_that_is_replayed_is_warm_before_its_first_request() -> None:
    family = {**FAMILY, "warm": "Replay", "replayPath": "/users/{id}"}
    world = Scenario(cache={**given_cache(), "families": [family]})
    world.settle()
    world.deploy("b")
    world.settle()
    assert serves(world, "b", "v2")
    hit_rate = next(g for g in world.status["gates"]) if world.status.get("gates") else None
    assert hit_rate is None


def test_a_pending_retirement_does_not_block_the_next_release() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Retiring")
    world.cache.is_stuck = True
    world.run(5)
    assert world.phase == Phase.RETIRING
    world.cache.is_stuck = False
    world.deploy("c")
    world.until("Warming", limit=3)
    world.settle()
    assert serves(world, "c", "v3")
    assert world.cache.retired.count("v1") >= 1


def test_the_next_release_ends_the_roll_back_window_of_the_last() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Observing")
    world.deploy("c")
    world.settle()
    assert serves(world, "c", "v3")
    assert world.ledger.attempts == 2


def test_a_restart_of_the_same_release_is_let_through_and_held_again() -> None:
    world = given_adopted()
    before = {pod.name for pod in world.pods}
    world.restart()
    world.settle()
    assert serves(world, "a", "v1")
    assert before.isdisjoint(pod.name for pod in world.pods)
    assert world.ledger.attempts == 0


def test_a_release_that_arrives_during_a_restart_is_not_let_through() -> None:
    world = given_adopted()
    world.oracle.is_leaked = True  # the hold is lifted for the restart: some pods get through
    world.restart()
    world.until("Promoting")
    world.run(3)
    world.deploy("b")
    world.settle()
    assert serves(world, "b", "v2") or serves(world, "b", "v3")
    assert "Analyzing" in world.oracle.phases


def test_a_restart_of_a_release_on_trial_waits_for_its_end() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Analyzing")
    world.restart()
    world.settle()
    assert serves(world, "b", "v2")
    assert world.ledger.attempts == 1


def test_more_canary_pods_are_admitted_step_by_step() -> None:
    world = given_adopted(soak="100s")
    world.deploy("b")
    world.until("Analyzing")
    world.run(90)
    assert sum(pod.is_canary for pod in world.serving()) == 2
    assert world.status["weightPercent"] == 33.3
    world.settle()
    assert serves(world, "b", "v2")


def test_a_slow_canary_takes_no_traffic_before_it_runs() -> None:
    world = given_adopted(deadline="5m")
    world.apps["b"] = App(starts_in=40)
    world.deploy("b")
    world.run(30)
    assert world.phase == Phase.WARMING
    world.settle()
    assert serves(world, "b", "v2")


def given_cache() -> dict[str, object]:
    return {"backendRef": {"name": "main"}, "families": [FAMILY]}
