"""The operator dies, is contradicted or is failed at every single effect that it has.

Told to the end, each story must come to the same end state as without the fault. Writes of the
status that only count measurements are all alike: of these, the first of a phase stands for all.
"""

from functools import cache

import pytest

from tests.scenario.loops import Scenario
from tests.scenario.stories import STORIES, end_of

FAULTS = ("kill before", "kill after", "conflict", "error")


@cache
def told(name: str) -> tuple[dict[str, object], tuple[int, ...], tuple[str, ...]]:
    """The end of a story without faults, the effects that are worth a fault, and all of them."""
    world = Scenario()
    STORIES[name](world)
    return end_of(world), tuple(world.notable), tuple(world.effects)


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_effect_changes_nothing_in_the_end(name: str, fault: str) -> None:
    end, notable, effects = told(name)
    for number in notable:
        world = Scenario(faults={number: fault})
        STORIES[name](world)
        assert end_of(world) == end, f"{fault} at effect {number}: {effects[number - 1]}"


@pytest.mark.parametrize("name", STORIES)
def test_a_fault_at_every_second_effect_changes_nothing_in_the_end(name: str) -> None:
    end, _, effects = told(name)
    for fault in ("kill after", "conflict"):
        world = Scenario(faults=dict.fromkeys(range(2, 3 * len(effects), 2), fault))
        STORIES[name](world)
        assert end_of(world) == end


@pytest.mark.parametrize("name", STORIES)
def test_a_second_pass_right_after_the_first_does_nothing(name: str) -> None:
    end, _, effects = told(name)
    world = Scenario(is_doubled=True)
    STORIES[name](world)
    assert end_of(world) == end
    done = [effect for effect in world.effects if effect != "status"]
    assert sorted(done) == sorted(effect for effect in effects if effect != "status")


@pytest.mark.parametrize("name", STORIES)
def test_at_rest_nothing_is_written(name: str) -> None:
    world = Scenario()
    STORIES[name](world)
    before = len(world.effects)
    world.run(200)
    assert len(world.effects) == before
