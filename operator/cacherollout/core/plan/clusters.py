"""A Deployment with its controller and a canary, moved on second by second.

Behaves as Kubernetes does: a rolling update surges and falls short as far as its strategy allows, a
paused one stands still, a pod serves once it has started and, if it is a canary's, was admitted.
Traffic is spread evenly over the pods that serve.
"""

from dataclasses import dataclass, field, fields
from typing import Final

from cacherollout.api.ledger import Counters
from cacherollout.core.counting import delta
from cacherollout.core.facts import CanaryFacts, PodFacts, PodMeasurement, TargetFacts

STABLE: Final = "stable"
COMING: Final = "coming"
"""Revisions of the two templates."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The target, as far as its pace depends on it."""

    replicas: int = 10
    surge: int = 3
    """Pods beyond `replicas` during a rolling update."""
    unavailable: int = 0
    """Pods short of `replicas` during one."""
    start_seconds: float = 10.0
    """From a pod's creation to its readiness."""


@dataclass(slots=True)
class Pod:
    """One pod."""

    name: str
    is_new: bool
    is_canary: bool
    born_at: float
    is_admitted: bool = False
    counted_from: Counters | None = None
    """What a pod of its side had counted when it began to serve; None before."""


@dataclass(slots=True)
class Cluster:
    """Everything that runs. The coming template is in the target from the start, and held."""

    shape: Shape
    now: float = 0.0
    is_paused: bool = True
    running_version: str | None = None
    """The version entry in the target's template."""
    new_version: str = ""
    canary_size: int | None = None
    """Replicas of the canary's Deployment; None where there is none."""
    attempt: int = 0
    old: list[Pod] = field(default_factory=list)
    new: list[Pod] = field(default_factory=list)
    canary: list[Pod] = field(default_factory=list)
    has_changed: bool = True
    """Something that wakes the operator happened since the last look."""
    _per_pod: dict[bool, Counters] = field(
        default_factory=lambda: {False: Counters(), True: Counters()}
    )
    """What a pod of either side has counted that has served all the while."""
    _named: int = 0

    def __post_init__(self) -> None:
        for _ in range(self.shape.replicas):
            pod = self._create(is_new=False)
            pod.born_at = -self.shape.start_seconds
            pod.counted_from = Counters()
            self.old.append(pod)

    def control(self) -> None:
        """One second of every controller."""
        if not self.is_paused:
            self._roll()
        size = self.canary_size or 0
        while len(self.canary) > size:
            self.canary.pop()
        while len(self.canary) < size:
            self.canary.append(self._create(is_new=True, is_canary=True))
        for pod in (*self.new, *self.canary):
            if pod.counted_from is None and self.is_ready(pod):
                pod.counted_from = self._per_pod[True]
                self.has_changed = True
            elif self._starts_now(pod):
                self.has_changed = True

    def _roll(self) -> None:
        """One pass of the Deployment controller."""
        shape = self.shape
        total = len(self.old) + len(self.new)
        missing = shape.replicas - len(self.new)
        for _ in range(min(missing, shape.replicas + shape.surge - total)):
            self.new.append(self._create(is_new=True))
        ready = len(self.old) + sum(self.is_ready(pod) for pod in self.new)
        spare = ready - (shape.replicas - shape.unavailable)
        for _ in range(min(len(self.old), max(0, spare))):
            self.old.pop()
            self.has_changed = True

    def _create(self, *, is_new: bool, is_canary: bool = False) -> Pod:
        self._named += 1
        return Pod(f"pod-{self._named:05}", is_new, is_canary, self.now)

    def _starts_now(self, pod: Pod) -> bool:
        age = self.now - pod.born_at
        return self.shape.start_seconds <= age < self.shape.start_seconds + 1

    def runs(self, pod: Pod) -> bool:
        """Whether its containers are ready."""
        return self.now - pod.born_at >= self.shape.start_seconds

    def is_ready(self, pod: Pod) -> bool:
        """Whether it takes traffic."""
        return self.runs(pod) and (pod.is_admitted or not pod.is_canary)

    def serving(self) -> tuple[int, int]:
        """Pods of the old and the new version that take traffic."""
        new = sum(self.is_ready(pod) for pod in (*self.new, *self.canary))
        return len(self.old), new

    @property
    def share(self) -> float:
        """Share (0…1) of the traffic that reaches the new version."""
        old, new = self.serving()
        return new / (old + new) if old + new else 0.0

    def count(self, old: Counters, new: Counters) -> None:
        """Spread what either side counted in a second over its pods."""
        for is_new, seen, pods in zip((False, True), (old, new), self.serving(), strict=True):
            if pods:
                known = self._per_pod[is_new]
                self._per_pod[is_new] = Counters(
                    **{name: getattr(known, name) + getattr(seen, name) / pods for name in _COUNTED}
                )

    def measure(self) -> tuple[PodMeasurement, ...]:
        """The cumulative counters of every pod whose containers run."""
        since: dict[tuple[bool, int], Counters] = {}
        found = []
        for pod in self._all():
            if not self.runs(pod):
                continue
            start = pod.counted_from
            key = (pod.is_new, id(start))
            if key not in since:
                since[key] = delta(start, self._per_pod[pod.is_new]) if start else Counters()
            found.append(PodMeasurement(pod.name, since[key]))
        return tuple(found)

    def target_facts(self) -> TargetFacts:
        """The target, as the operator reads it."""
        ready = sum(self.is_ready(pod) for pod in self.new)
        return TargetFacts(
            uid="target",
            resource_version="1",
            revision=COMING,
            is_paused=self.is_paused,
            replicas=self.shape.replicas,
            ready=len(self.old) + ready,
            is_complete=not self.old and ready == self.shape.replicas,
            stated_version=None,
            running_version=self.running_version,
            container="app",
            updated=len(self.new),
            updated_ready=ready,
        )

    def canary_facts(self) -> CanaryFacts | None:
        """The canary's Deployment."""
        if self.canary_size is None:
            return None
        return CanaryFacts("canary", True, self.attempt, COMING, self.new_version, self.canary_size)

    def pod_facts(self, old_version: str) -> tuple[PodFacts, ...]:
        """Every pod."""
        return tuple(
            PodFacts(
                name=pod.name,
                uid=pod.name,
                ip="",
                is_canary=pod.is_canary,
                revision=COMING if pod.is_new else STABLE,
                version=self.new_version if pod.is_new else old_version,
                is_ready=self.is_ready(pod),
                are_containers_ready=self.runs(pod),
                is_admitted=pod.is_admitted,
            )
            for pod in self._all()
        )

    def _all(self) -> tuple[Pod, ...]:
        return (*self.old, *self.new, *self.canary)


_COUNTED: Final = tuple(item.name for item in fields(Counters))
