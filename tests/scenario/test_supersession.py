"""A release arrives while another one is under way."""

import pytest

from cacherollout.api.reasons import Phase, Reason
from tests.scenario.clusters import App
from tests.scenario.loops import Scenario
from tests.scenario.test_releases import given_adopted, serves

PHASES = ("Warming", "Analyzing", "Promoting", "Observing")


def given_release_in(phase: str) -> Scenario:
    world = given_adopted()
    world.deploy("b")
    world.until(phase)
    if phase == "Promoting":
        # A template that is applied to a running roll-out gets through to a pod or two.
        world.oracle.is_leaked = True
        world.run(5)
    return world


@pytest.mark.parametrize("phase", PHASES)
def test_the_newer_release_wins_in_every_phase(phase: str) -> None:
    world = given_release_in(phase)
    world.deploy("c")
    world.settle()
    assert serves(world, "c", "v3")
    assert world.ledger.attempts == 2
    assert world.ledger.rejected is None


@pytest.mark.parametrize("phase", PHASES)
def test_a_newer_release_that_states_its_version_keeps_it(phase: str) -> None:
    world = given_release_in(phase)
    world.deploy("c", "v7")
    world.settle()
    assert serves(world, "c", "v7")


@pytest.mark.parametrize("phase", PHASES)
def test_taking_the_template_back_returns_to_the_stable_release(phase: str) -> None:
    world = given_release_in(phase)
    world.deploy("a")
    world.settle()
    assert serves(world, "a", "v1")
    assert world.ledger.rejected is None


@pytest.mark.parametrize("phase", PHASES)
def test_back_and_forth_ends_where_the_user_ended(phase: str) -> None:
    world = given_release_in(phase)
    for image in ("c", "b", "a", "b"):
        world.deploy(image)
        world.run(2)
    world.settle()
    assert world.deployment.template.image == "b"
    assert {pod.template.image for pod in world.pods} == {"b"}
    assert world.deployment.is_paused


@pytest.mark.parametrize("phase", PHASES)
def test_an_unseen_change_back_and_forth_changes_nothing(phase: str) -> None:
    """The operator sees states, not events."""
    world = given_release_in(phase)
    world.deploy("c")
    world.deploy("b")
    world.settle()
    assert serves(world, "b", "v2")
    assert world.ledger.attempts == 1


def test_a_release_that_arrives_during_a_late_roll_back_gets_its_turn() -> None:
    world = given_release_in("Observing")
    world.oracle.is_leaked = True
    world.apps["b"] = App(http_errors=0.05)
    world.until(lambda: world.phase == Phase.ROLLING_BACK and not world.deployment.is_paused)
    world.run(3)
    world.deploy("c")
    world.settle()
    assert serves(world, "c", "v3")


def test_a_rejected_template_that_is_applied_again_during_its_roll_back_stays_held() -> None:
    world = given_release_in("Observing")
    world.apps["b"] = App(http_errors=0.05)
    world.until(lambda: world.deployment.template.image == "a")
    world.run(2)
    world.deploy("b")
    world.settle()
    assert {pod.template.image for pod in world.pods} == {"a"}
    world.deploy("b")
    world.settle()
    assert world.reason == Reason.REJECTED_REVISION_HELD
    assert {pod.template.image for pod in world.pods} == {"a"}


def test_a_release_that_goes_away_again_during_a_roll_back_is_forgotten() -> None:
    world = given_release_in("Promoting")
    world.deploy("c")
    world.until("RollingBack")
    world.run(1)
    world.deploy("a")
    world.settle()
    assert {pod.template.image for pod in world.pods} == {world.deployment.template.image}


def test_a_version_of_the_spec_supersedes_a_release() -> None:
    world = given_release_in("Analyzing")
    world.edit_spec(cache={"version": "v8"})
    world.settle()
    assert serves(world, "b", "v8")


def test_taking_a_version_of_the_spec_back_returns_to_the_stable_one() -> None:
    world = given_adopted()
    world.edit_spec(cache={"version": "v8"})
    world.until("Analyzing")
    world.edit_spec(cache={"version": "Auto"})
    world.settle()
    assert serves(world, "a", "v1")


@pytest.mark.parametrize("phase", ["Idle", "Warming", "Analyzing"])
def test_a_hold_lifted_by_somebody_ships_nothing_that_was_not_judged(phase: str) -> None:
    world = given_adopted()
    if phase == "Idle":
        # The release and the lift arrive together: nobody could be faster.
        world.deploy("b")
        world.lift_hold()
    else:
        world.deploy("b")
        world.until(phase)
        world.run(2)
        world.lift_hold()
    world.oracle.is_leaked = True
    for _ in range(3):
        world.control()
    world.settle()
    assert {pod.template.image for pod in world.pods} == {"b"}
    assert world.phase == Phase.SUCCEEDED
    assert world.said(Reason.DRIFT_CORRECTED)
    assert world.deployment.is_paused


def test_a_hold_that_is_lifted_at_rest_is_put_back() -> None:
    world = given_adopted()
    world.lift_hold()
    world.settle()
    assert world.deployment.is_paused
    assert world.ledger.attempts == 0
    assert len(world.said(Reason.DRIFT_CORRECTED)) == 1


def test_a_leak_of_a_stated_version_is_put_back_as_it_was() -> None:
    world = given_adopted()
    world.deploy("b")
    world.settle()
    world.oracle.is_leaked = True
    world.deploy("c", "v7")
    world.lift_hold()
    for _ in range(3):
        world.control()
    world.settle()
    assert serves(world, "c", "v7")
