"""Whatever people, pods, caches and the operator's own deaths do in whatever order: the invariants
hold at every step, and once the disturbances stop everything comes to rest.
"""

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacherollout.api.reasons import Phase
from tests.scenario.clusters import App
from tests.scenario.loops import Scenario

BROKEN = App(http_errors=0.05)


def _break(image: str) -> Callable[[Scenario], None]:
    return lambda world: world.apps.update({image: BROKEN})


def _set(part: str, **values: object) -> Callable[[Scenario], None]:
    def change(world: Scenario) -> None:
        for name, value in values.items():
            setattr(world.cache if part == "cache" else world, name, value)

    return change


def _die(world: Scenario) -> None:
    world.restart_operator()


def _fail(fault: str, ahead: int) -> Callable[[Scenario], None]:
    return lambda world: world.faults.update({len(world.effects) + ahead: fault})


EVENTS: dict[str, Callable[[Scenario], None]] = {
    **{f"deploy {image}": lambda world, image=image: world.deploy(image) for image in "abc"},
    "deploy c as v7": lambda world: world.deploy("c", "v7"),
    "deploy b as v1": lambda world: world.deploy("b", "v1"),
    "spec says v5": lambda world: world.edit_spec(cache={"version": "v5"}),
    "spec says Auto": lambda world: world.edit_spec(cache={"version": "Auto"}),
    **{
        f"ask {verb}": lambda world, verb=verb: world.ask(verb)
        for verb in ("promote", "abort", "retry", "pause", "resume", "abort/rev-b")
    },
    "restart": lambda world: world.restart(),
    "lift the hold": lambda world: world.lift_hold(),
    **{f"scale {size}": lambda world, size=size: world.scale(size) for size in (0, 1, 4, 6)},
    "kill a pod": lambda world: world.kill_pod(),
    "kill a canary pod": lambda world: world.kill_pod(is_canary=True),
    "delete the canary": lambda world: world.end_canary(),
    "lose the snapshots": lambda world: world.snapshots.clear(),
    "b breaks": _break("b"),
    "c breaks": _break("c"),
    "all are well": lambda world: world.apps.clear(),
    "cache down": _set("cache", is_down=True),
    "cache up": _set("cache", is_down=False),
    "mirror cut": _set("cache", is_cut=True),
    "mirror back": _set("cache", is_cut=False),
    "cache full": _set("cache", used_memory=950),
    "cache empty": _set("cache", used_memory=100),
    "metrics gone": _set("world", has_metrics=False),
    "metrics back": _set("world", has_metrics=True),
    "night": _set("world", rps=0.0),
    "day": _set("world", rps=1000.0),
    "the operator dies": _die,
    **{
        f"{fault} in {ahead}": _fail(fault, ahead)
        for fault in ("kill before", "kill after", "conflict", "error")
        for ahead in (1, 2, 5)
    },
}
WAITS = st.sampled_from((0, 1, 2, 5, 15, 40))


def heal(world: Scenario) -> None:
    """The disturbances stop; a paused rollout is resumed."""
    world.faults.clear()
    world.apps.clear()
    world.has_metrics, world.rps = True, 1000.0
    world.cache.is_down = world.cache.is_cut = False
    world.cache.used_memory = 100
    if world.deployment.replicas == 0:
        world.scale(2)
    world.ask("resume")


@given(st.lists(st.tuples(st.sampled_from(sorted(EVENTS)), WAITS), max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_everything_comes_to_rest(events: list[tuple[str, int]]) -> None:
    world = Scenario()
    world.settle()
    # Nobody is faster than a hold that is lifted, or a template that changes in a roll-out.
    world.oracle.is_leaked = True
    world.oracle.has_word = any(name == "ask promote" for name, _ in events)
    for name, wait in events:
        EVENTS[name](world)
        world.changed = True
        world.run(wait)
    heal(world)
    world.settle()
    ledger, target = world.ledger, world.deployment
    assert world.phase in (Phase.IDLE, Phase.SUCCEEDED, Phase.ROLLED_BACK)
    assert ledger.stable is not None
    assert ledger.attempt is None
    assert ledger.retiring == ()
    assert target.is_paused
    assert world.canary is None
    stable = ledger.stable
    served = {(pod.template.revision, pod.version or "v1") for pod in world.pods}
    assert served == {(stable.revision, stable.version)}
    asked = target.template.revision
    assert asked == stable.revision or asked == getattr(ledger.rejected, "revision", None)
    assert set(world.cache.namespaces) >= {stable.version}
    assert world.cache.running == {}
