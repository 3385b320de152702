"""The operator dies, is contradicted or is failed at every effect that it has.

Told to the end, each story must come to the same end state as without a fault.
"""

from functools import cache

import pytest

from tests.scenario.loops import Scenario
from tests.scenario.stories import STORIES, end_of

STRIDE = 3
"""Faults in one telling are so far apart; as many tellings hit every effect."""


def tell(name: str, world: Scenario) -> None:
    """From the adoption on."""
    world.settle()
    STORIES[name](world)


@cache
def told(name: str) -> tuple[dict[str, object], tuple[int, ...], tuple[str, ...]]:
    """The end of a story without faults, the effects that are worth a fault, and all of them."""
    world = Scenario()
    tell(name, world)
    return end_of(world), tuple(world.notable), tuple(world.effects)


@pytest.mark.parametrize("name", STORIES)
def test_dying_right_after_any_action_changes_nothing_in_the_end(name: str) -> None:
    end, notable, effects = told(name)
    for number in notable:
        if effects[number - 1] == "status":
            continue  # an action that follows is killed before it happens, below
        world = Scenario(faults={number: "kill after"})
        tell(name, world)
        assert end_of(world) == end, f"killed after effect {number}: {effects[number - 1]}"


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("fault", ["kill before", "conflict", "error"])
def test_faults_at_every_effect_change_nothing_in_the_end(name: str, fault: str) -> None:
    end, notable, _ = told(name)
    for first in range(STRIDE):
        world = Scenario(faults=dict.fromkeys(notable[first::STRIDE], fault))
        tell(name, world)
        assert end_of(world) == end, f"{fault} at every {STRIDE}rd effect from {first} on"


@pytest.mark.parametrize("name", STORIES)
def test_an_operator_that_dies_at_every_second_effect_still_gets_there(name: str) -> None:
    end, _, effects = told(name)
    world = Scenario(faults=dict.fromkeys(range(2, 2 * len(effects), 2), "kill after"))
    tell(name, world)
    assert end_of(world) == end


@pytest.mark.parametrize("name", STORIES)
def test_a_second_pass_right_after_the_first_does_nothing(name: str) -> None:
    end, _, effects = told(name)
    world = Scenario(is_doubled=True)
    tell(name, world)
    assert end_of(world) == end
    done = [effect for effect in world.effects if effect != "status"]
    assert sorted(done) == sorted(effect for effect in effects if effect != "status")


@pytest.mark.parametrize("name", STORIES)
def test_at_rest_nothing_is_written(name: str) -> None:
    world = Scenario()
    tell(name, world)
    before = len(world.effects)
    world.run(200)
    assert len(world.effects) == before
