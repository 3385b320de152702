"""The CacheRollout is deleted: nothing that was not judged ships, and nothing is left behind."""

import pytest

from cacherollout.api.reasons import Reason
from tests.scenario.clusters import App
from tests.scenario.loops import Scenario
from tests.scenario.test_releases import given_adopted
from tests.scenario.world import KEY

PHASES = ("Warming", "Analyzing", "Promoting", "Observing", "Retiring")
PROMOTED = ("Observing", "Retiring")


def given_release_in(phase: str) -> Scenario:
    world = given_adopted()
    world.deploy("b")
    world.until(phase)
    world.run(1)
    return world


def is_gone(world: Scenario) -> bool:
    return KEY not in world.stored


@pytest.mark.parametrize("phase", PHASES)
def test_deleting_in_every_phase_leaves_what_was_judged(phase: str) -> None:
    world = given_release_in(phase)
    world.delete()
    world.until(lambda: is_gone(world), limit=60)
    world.run(30)
    image, version = ("b", "v2") if phase in PROMOTED else ("a", "v1")
    assert {(pod.template.image, pod.version or "v1") for pod in world.pods} == {(image, version)}
    assert len(world.pods) == 4
    assert world.deployment.template.image == image
    assert not world.deployment.is_paused
    assert not world.deployment.is_owned
    assert set(world.cache.namespaces) == {version}
    assert world.cache.running == {}


def test_deleting_at_rest_frees_the_target_and_restarts_nothing() -> None:
    world = given_adopted()
    world.deploy("b")
    world.settle()
    before = {pod.name for pod in world.pods}
    world.delete()
    world.until(lambda: is_gone(world))
    world.run(20)
    assert {pod.name for pod in world.pods} == before
    assert world.deployment.entry == "v2"


def test_deleting_with_a_rejected_release_pending_does_not_ship_it() -> None:
    world = given_adopted()
    world.apps["b"] = App(http_errors=0.05)
    world.deploy("b")
    world.settle()
    world.delete()
    world.until(lambda: is_gone(world))
    world.run(20)
    assert world.deployment.template.image == "a"
    assert {pod.template.image for pod in world.pods} == {"a"}


def test_deleting_during_a_late_roll_back_finishes_it() -> None:
    world = given_release_in("Observing")
    world.ask("abort")
    world.until("RollingBack")
    world.delete()
    world.until(lambda: is_gone(world))
    world.run(20)
    assert {pod.template.image for pod in world.pods} == {"a"}
    assert not world.deployment.is_paused


@pytest.mark.parametrize("phase", PHASES)
def test_a_dead_cache_keeps_a_deletion_for_a_minute_at_most(phase: str) -> None:
    world = given_release_in(phase)
    world.cache.is_down = True
    world.delete()
    world.until(lambda: is_gone(world), limit=75)
    assert world.canary is None
    assert not world.deployment.is_paused
    assert len(world.said(Reason.CLEANUP_INCOMPLETE)) == 1


def test_deleting_one_that_never_adopted_anything_leaves_no_trace() -> None:
    world = Scenario(replicas=0)
    world.settle()
    world.delete()
    world.until(lambda: is_gone(world))
    assert not world.deployment.is_owned


def test_deleting_after_the_target_is_gone() -> None:
    world = given_release_in("Analyzing")
    world.delete_target()
    world.run(5)
    world.delete()
    world.until(lambda: is_gone(world), limit=60)
    assert world.pods == []
    assert "v2" not in world.cache.namespaces


def test_deleting_leaves_a_replaced_target_alone() -> None:
    world = given_adopted()
    world.oracle.is_leaked = True
    world.replace_target("z")
    world.settle()
    world.delete()
    world.until(lambda: is_gone(world), limit=60)
    assert not world.deployment.is_owned
    assert {pod.template.image for pod in world.pods} <= {"z"}


def test_creating_it_again_adopts_the_version_that_was_left() -> None:
    world = given_adopted()
    world.deploy("b")
    world.settle()
    world.delete()
    world.until(lambda: is_gone(world))
    world.create()
    world.settle()
    world.deploy("c")
    world.settle()
    assert {(pod.template.image, pod.version) for pod in world.pods} == {("c", "v3")}
