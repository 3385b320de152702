"""The versions in use are published before anything needs them, and until nothing does any more.

That no pod ever misses one it would have to delete under is the oracle's I11, looked at all the
time, faults included.
"""

from functools import cache

import pytest

from cacherollout.core.actions import CopyWork, MirrorWork
from cacherollout.core.announcing import HEARD_SECONDS
from tests.scenario import stories
from tests.scenario.clusters import App
from tests.scenario.loops import Scenario
from tests.scenario.stories import Story, end_of
from tests.scenario.world import KEY, SPEC

VERSIONS = "app:versions"
CACHE = SPEC["cache"] | {"versionsKey": VERSIONS}
TOLD: tuple[Story, ...] = (
    stories.promotion,
    stories.failing_gate,
    stories.late_roll_back,
    stories.superseded_in_the_window,
    stories.deletion_on_trial,
)
by_story = pytest.mark.parametrize("story", TOLD, ids=[story.__name__ for story in TOLD])


def given_adopted(faults: dict[int, str] | None = None) -> Scenario:
    world = Scenario(cache=CACHE, faults=faults)
    world.settle()
    return world


def published(world: Scenario) -> tuple[str, ...]:
    return world.cache.published.get(VERSIONS, ())


@cache
def told(story: Story) -> tuple[dict[str, object], tuple[int, ...]]:
    """The end without faults, and the effects that are worth one."""
    world = given_adopted()
    story(world)
    return end_of(world), tuple(world.notable)


def test_at_rest_nothing_is_published_and_nothing_written() -> None:
    world = given_adopted()
    world.run(120)
    assert world.cache.published == {}
    assert world.cache.running == {}


def test_the_phases_of_a_release_and_what_is_published_in_each() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until(lambda: bool(published(world)))
    assert published(world) == ("v1", "v2")
    assert world.canary is None
    assert "v2" not in world.cache.namespaces
    for phase in ("Analyzing", "Promoting", "Observing", "Retiring"):
        world.until(phase)
        expected = ("v2", "v1") if phase == "Retiring" else ("v1", "v2")
        world.run(1)
        assert published(world) == expected, phase
    world.until("Succeeded")
    assert "v1" not in world.cache.namespaces
    world.settle()
    assert published(world) == ("v2",)
    assert world.cache.running == {}
    assert not world.ledger.is_announcing


def test_nothing_is_filled_until_every_pod_had_the_time_to_hear() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until(lambda: bool(published(world)))
    began = world.now
    while world.canary is None:
        works = [each.work for each in world.cache.running.values()]
        assert not any(isinstance(work, CopyWork | MirrorWork) for work in works), works
        world.run(1)
    assert world.now - began >= HEARD_SECONDS
    assert "being told" not in world.status["message"]


def test_a_restarted_operator_waits_once_more_before_it_admits() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until(lambda: "v2" in world.cache.namespaces)
    world.restart_operator()
    began = world.now
    world.until("Analyzing")
    assert world.now - began >= HEARD_SECONDS
    assert world.cache.publications == [("v1", "v2")]


@pytest.mark.parametrize("phase", ["Warming", "Analyzing", "Promoting", "Observing"])
def test_a_lost_key_is_back_within_a_look_and_costs_nothing_else(phase: str) -> None:
    world = given_adopted()
    world.deploy("b")
    world.until(phase)
    world.run(8 if phase == "Warming" else 1)
    world.cache.published.clear()
    world.run(2)
    assert published(world) == ("v1", "v2")
    world.settle()
    assert world.oracle.phases[-1] == "Succeeded"
    assert published(world) == ("v2",)


def test_a_release_that_is_undone_stays_published_until_its_keys_are_gone() -> None:
    world = given_adopted()
    world.apps["b"] = App(http_errors=0.05)
    world.deploy("b")
    world.until("RollingBack")
    while "v2" in world.cache.namespaces or any(pod.version == "v2" for pod in world.pods):
        assert published(world) == ("v1", "v2")
        world.run(1)
    world.settle()
    assert published(world) == ("v1",)


def test_a_late_roll_back_names_both_until_the_last_pod_and_key_are_gone() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Observing")
    world.ask("abort")
    world.until("RollingBack")
    seconds = 0
    while "v2" in world.cache.namespaces or any(pod.version == "v2" for pod in world.pods):
        assert published(world) == ("v1", "v2")
        world.run(1)
        seconds += 1
    assert seconds > 5, "it takes time, in which both versions serve"
    world.settle()
    assert published(world) == ("v1",)


def test_a_release_in_the_window_of_another_makes_three_versions() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Observing")
    world.deploy("c")
    world.settle()
    assert world.cache.publications == [
        ("v1", "v2"),
        ("v2", "v3", "v1"),
        ("v3", "v1", "v2"),
        ("v3",),
    ]


def test_a_release_that_shares_the_namespace_publishes_nothing() -> None:
    cache = CACHE | {"version": "OnSchemaChange"}
    world = Scenario(cache=cache)
    world.settle()
    world.deploy("b")
    world.settle()
    assert world.oracle.phases[-1] == "Succeeded"
    assert world.cache.published == {}


def test_a_key_that_cannot_be_written_keeps_the_release_from_starting_and_says_so() -> None:
    world = given_adopted()
    world.cache.is_unwritable = True
    world.deploy("b")
    world.until("Warming")
    world.run(10)
    assert "app:versions may not be written" in world.status["message"]
    assert world.canary is None
    world.settle()
    assert world.phase == "RolledBack"
    assert "could not be published" in world.status["message"]


def test_what_cannot_be_taken_back_is_said_and_tried_again_without_haste() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Retiring")
    world.cache.is_unwritable = True
    world.until("Succeeded")
    world.run(20)
    assert "still published: app:versions may not be written" in world.status["message"]
    before = world.passes
    world.run(60)
    assert world.passes - before <= 6
    world.cache.is_unwritable = False
    world.until(lambda: not world.ledger.is_announcing, limit=20)
    assert published(world) == ("v2",)
    assert "still published" not in world.status["message"]


def test_deleting_the_rollout_leaves_the_serving_version_alone() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Analyzing")
    world.delete()
    while KEY in world.stored:
        if any(pod.version == "v2" for pod in world.pods) or "v2" in world.cache.namespaces:
            assert published(world) == ("v1", "v2")
        world.run(1)
    assert published(world) == ("v1",)
    assert world.cache.running == {}


def test_a_dead_cache_does_not_keep_a_deletion_because_of_the_key() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Analyzing")
    world.cache.is_down = True
    world.delete()
    world.until(lambda: KEY not in world.stored, limit=75)


def test_a_key_taken_out_of_the_spec_is_left_alone_and_nothing_waits_for_it() -> None:
    world = given_adopted()
    world.deploy("b")
    world.until("Observing")
    world.edit_spec(cache={"versionsKey": None})
    world.settle()
    assert world.oracle.phases[-1] == "Succeeded"
    assert not world.ledger.is_announcing
    assert published(world) == ("v1", "v2")


@by_story
def test_dying_right_after_any_effect_changes_nothing_in_the_end(story: Story) -> None:
    end, notable = told(story)
    for number in notable:
        world = given_adopted(faults={number: "kill after"})
        story(world)
        assert end_of(world) == end, f"killed after effect {number}"


@by_story
def test_dying_right_before_every_third_effect_changes_nothing_in_the_end(story: Story) -> None:
    end, notable = told(story)
    for first in range(3):
        world = given_adopted(faults=dict.fromkeys(notable[first::3], "kill before"))
        story(world)
        assert end_of(world) == end, f"killed before every third effect from {first} on"


@by_story
def test_at_rest_nothing_is_left_to_do(story: Story) -> None:
    world = given_adopted()
    story(world)
    before = len(world.effects)
    world.run(200)
    assert len(world.effects) == before
    assert world.cache.running == {}
    assert len(published(world)) <= 1
