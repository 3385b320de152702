"""A release under the operator: `decide` itself, pass by pass, over a simulated world.

No rule of the ramp, the gates or the promotion is written here a second time: this module carries
out what was decided, counts what pods would count, and looks again when the operator would.
"""

from dataclasses import dataclass, field
from typing import Final

from cacherollout.api.ledger import Counters, Ledger, Release
from cacherollout.core.actions import (
    Action,
    ApplyCanary,
    ApplyTarget,
    DeleteCanary,
    RunWorks,
    SetAdmission,
)
from cacherollout.core.decide import decide, needs_measurement
from cacherollout.core.decisions import Decision
from cacherollout.core.facts import Measurement, Observed
from cacherollout.core.plan.clusters import COMING, STABLE, Cluster
from cacherollout.core.plan.courses import Course, Event, Sample, load
from cacherollout.core.plan.scenes import Scene
from cacherollout.core.plan.schedules import tail_seconds
from cacherollout.core.plan.stores import Flow, Linked, Store
from cacherollout.core.plan.works import Works

EPOCH: Final = 1_000_000.0
"""The operator's clock at the start; any will do but zero, which reads as `never`."""
MOST_SECONDS: Final = 6 * 3600
"""Longest release that is followed."""
_MOST_PASSES: Final = 10
"""Passes that follow one another at once, at most, as in the operator's own loop."""


@dataclass(slots=True)
class _World:
    """Everything outside the operator, and what the operator remembers."""

    scene: Scene
    ledger: Ledger
    cluster: Cluster
    store: Store
    works: Works
    measurement: Measurement | None = None
    measured_at: float = float("-inf")
    wake_at: float = 0.0
    phase: str = ""
    samples: list[Sample] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def now(self) -> float:
        return self.cluster.now

    def look(self) -> None:
        """What the operator does in this second."""
        if not self.cluster.has_changed and self.now < self.wake_at:
            return
        self.cluster.has_changed = False
        for _ in range(_MOST_PASSES):
            self._measure()
            decision = decide(self.scene.spec, self.ledger, self._observed(), EPOCH + self.now)
            self._note(decision)
            self.ledger = decision.ledger
            for action in decision.actions:
                self._apply(action)
            self.wake_at = self.now + decision.requeue_seconds
            if decision.requeue_seconds > 0:
                return

    def _measure(self) -> None:
        due = self.measured_at + self.scene.spec.metrics.interval
        if self.now >= due and needs_measurement(self.ledger):
            self.measured_at = self.now
            self.measurement = Measurement(EPOCH + self.now, self.cluster.measure())

    def _observed(self) -> Observed:
        return Observed(
            uid="plan",
            name="plan",
            generation=1,
            has_finalizer=True,
            target=self.cluster.target_facts(),
            canary=self.cluster.canary_facts(),
            pods=self.cluster.pod_facts(self.scene.stable_version),
            snapshots=frozenset((STABLE, COMING)),
            cache=self.works.facts(EPOCH + self.now),
            measurement=self.measurement,
        )

    def _note(self, decision: Decision) -> None:
        if decision.phase != self.phase:
            self.phase = decision.phase
            self.events.append(Event(self.now, f"{decision.phase}: {decision.message}"))
        else:
            self.events += [Event(self.now, said.message) for said in decision.says]

    def _apply(self, action: Action) -> None:
        cluster = self.cluster
        match action:
            case ApplyTarget():
                cluster.is_paused = action.is_paused
                cluster.running_version = action.entry
            case ApplyCanary():
                cluster.canary_size, cluster.attempt = action.replicas, action.attempt
                cluster.new_version = action.version
            case DeleteCanary():
                cluster.canary_size = None
            case SetAdmission():
                for pod in cluster.canary:
                    pod.is_admitted = (
                        pod.is_admitted or pod.name in action.opened
                    ) and pod.name not in action.closed
            case RunWorks():
                self.works.ask(action.works)
            case _:
                # Snapshots and finalizers, which the simulated world always has.
                pass

    def live(self) -> None:
        """One second of everything else."""
        self.cluster.control()
        if self.works.advance():
            self.cluster.has_changed = True
        share = self.cluster.share
        attempt = self.ledger.attempt
        shared = attempt and attempt.release.version == self.scene.stable_version
        # Where both releases use the same keys, a canary's lookups are like any other.
        flow = self.store.advance(0.0 if shared else share)
        self.cluster.count(*_counted(flow, share))
        self.samples.append(Sample(share, flow, self.store.bytes()))
        self.cluster.now += 1


def release(scene: Scene, name: str) -> Course:
    """The course of a release under the operator, until it serves everybody or is given up.

    Ends a TTL after the promotion, TAIL_SECONDS at most; what a roll-back costs is not followed.
    """
    world = _begin(scene)
    normal = load(_begin(scene).store.advance(0.0))
    promoted_at, problem = None, ""
    for _ in range(MOST_SECONDS):
        world.look()
        attempt = world.ledger.attempt
        if attempt is None or attempt.abort is not None:
            problem = attempt.abort.message if attempt and attempt.abort else "it was not begun"
            break
        if attempt.promoted_at is not None:
            promoted_at = attempt.promoted_at - EPOCH
            break
        world.live()
    else:
        problem = f"it had not ended after {MOST_SECONDS / 3600:g} hours"
    for _ in range(tail_seconds(scene.populations) if promoted_at is not None else 1):
        world.look()
        world.live()
    return Course(
        name,
        normal,
        tuple(world.samples),
        budget=scene.spec.budget(),
        events=tuple(world.events),
        promoted_at=promoted_at,
        problem=problem,
    )


def _begin(scene: Scene) -> _World:
    stable = Release(STABLE, scene.stable_version, fingerprints=dict(scene.fingerprints))
    copied = scene.families.copied
    families = {
        each.name: Linked(each, is_copied=each.name in copied) for each in scene.populations
    }
    return _World(
        scene,
        Ledger(target_uid="target", stable=stable, versions=(scene.stable_version,)),
        Cluster(scene.shape),
        Store(list(families.values())),
        Works(scene, families),
    )


def _counted(flow: Flow, share: float) -> tuple[Counters, Counters]:
    """What the pods of the old and of the new version count in a second of that flow.

    Every lookup is one request, and neither fails: what a sound release would show.
    """
    if flow.new_lookups == 0 and share > 0:
        # Shared keys: the flow knows no versions.
        flow = Flow(
            flow.old_lookups * (1 - share),
            flow.old_misses * (1 - share),
            flow.old_lookups * share,
            flow.old_misses * share,
        )
    return (
        _side(flow.old_lookups, flow.old_misses),
        _side(flow.new_lookups, flow.new_misses),
    )


def _side(lookups: float, misses: float) -> Counters:
    operations = lookups + misses
    return Counters(
        lookups=lookups,
        misses=misses,
        operations=operations,
        timed=operations,
        requests=lookups,
        origin=misses,
    )
