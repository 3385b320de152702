"""Stories that are told again and again with faults: each ends in one and the same state."""

from collections.abc import Callable
from math import inf

from tests.scenario.clusters import App
from tests.scenario.loops import Scenario
from tests.scenario.world import KEY

Story = Callable[[Scenario], None]
"""Begins with the CacheRollout just created."""


def promotion(world: Scenario) -> None:
    """A release goes well."""
    world.deploy("b")
    world.settle()


def stated_in_the_template(world: Scenario) -> None:
    """Two literal versions, one after the other."""
    world.deploy("b", "v7")
    world.settle()
    world.deploy("c")
    world.settle()


def stated_in_the_spec(world: Scenario) -> None:
    """The same template under another version."""
    world.edit_spec(cache={"version": "v9"})
    world.settle()


def failing_gate(world: Scenario) -> None:
    """A broken release, and the next one that is well."""
    world.apps["b"] = App(http_errors=0.05)
    world.deploy("b")
    world.settle()
    world.deploy("c")
    world.settle()


def never_ready(world: Scenario) -> None:
    """A release that does not run."""
    world.apps["b"] = App(starts_in=inf)
    world.deploy("b")
    world.settle()


def late_roll_back(world: Scenario) -> None:
    """A release that goes bad in its window."""
    world.deploy("b")
    world.until("Observing")
    world.apps["b"] = App(http_errors=0.05)
    world.settle()


def superseded_on_trial(world: Scenario) -> None:
    """The next release arrives while the first takes traffic."""
    world.deploy("b")
    world.until("Analyzing")
    world.deploy("c")
    world.settle()


def superseded_in_promotion(world: Scenario) -> None:
    """The next release, stating its version, arrives while the first is rolled out."""
    world.deploy("b")
    world.until("Promoting")
    world.oracle.is_leaked = True
    world.deploy("c", "v7")
    world.settle()


def superseded_in_the_window(world: Scenario) -> None:
    """The next release arrives in the window of the first."""
    world.deploy("b")
    world.until("Observing")
    world.deploy("c")
    world.settle()


def hold_lifted(world: Scenario) -> None:
    """Somebody lifts the hold while a release is on trial."""
    world.deploy("b")
    world.until("Analyzing")
    world.oracle.is_leaked = True
    world.lift_hold()
    for _ in range(3):
        world.control()
    world.settle()


def restart(world: Scenario) -> None:
    """`kubectl rollout restart` of the stable release."""
    world.restart()
    world.settle()


def zero_replicas(world: Scenario) -> None:
    """A release while nothing runs."""
    world.scale(0)
    world.settle()
    world.deploy("b")
    world.settle()
    world.scale(4)
    world.settle()


def requests(world: Scenario) -> None:
    """Pause, resume, abort, retry."""
    world.deploy("b")
    world.until("Warming")
    world.ask("pause")
    world.run(5)
    world.ask("resume")
    world.until("Analyzing")
    world.ask("abort")
    world.settle()
    world.ask("retry")
    world.settle()


def deletion_on_trial(world: Scenario) -> None:
    """The CacheRollout is deleted while a release takes traffic."""
    world.deploy("b")
    world.until("Analyzing")
    world.delete()
    world.until(lambda: KEY not in world.stored)
    world.run(20)


def deletion_in_promotion(world: Scenario) -> None:
    """The CacheRollout is deleted while a release is rolled out."""
    world.deploy("b")
    world.until("Promoting")
    world.run(4)
    world.delete()
    world.until(lambda: KEY not in world.stored)
    world.run(20)


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        promotion,
        stated_in_the_template,
        stated_in_the_spec,
        failing_gate,
        never_ready,
        late_roll_back,
        superseded_on_trial,
        superseded_in_promotion,
        superseded_in_the_window,
        hold_lifted,
        restart,
        zero_replicas,
        requests,
        deletion_on_trial,
        deletion_in_promotion,
    )
}


def end_of(world: Scenario) -> dict[str, object]:
    """What is left in the end, without names and times."""
    ledger, target = world.ledger, world.target
    return {
        "pods": sorted((pod.template.image, pod.version, pod.is_canary) for pod in world.pods),
        "target": target
        and (target.template.image, target.template.stated, target.is_paused, target.is_owned),
        "entry": target and target.entry,
        "canary": world.canary,
        "keys": sorted(world.cache.namespaces),
        "published": world.cache.published,
        "works": sorted(world.cache.running),
        "snapshots": sorted(world.snapshots) if KEY in world.stored else [],
        "rollouts": sorted(each.has_finalizer for each in world.stored.values()),
        "annotations": world.rollout.annotations if KEY in world.stored else {},
        "phase": world.phase if KEY in world.stored else "",
        "stable": ledger.stable,
        "rejected": ledger.rejected,
        "rejected for": ledger.rejected_reason,
        "attempt": ledger.attempt,
        "attempts": ledger.attempts,
        "retiring": ledger.retiring,
        "versions": sorted(ledger.versions),
        "flags": (ledger.is_paused, ledger.is_restarting),
    }
