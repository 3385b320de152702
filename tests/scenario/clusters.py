"""A cluster in memory: one Deployment with its controller, a canary, pods, and what apps do.

Behaves as a real one was seen to behave: a paused Deployment ignores its template, still scales and
still replaces killed pods with the old template; a rolling update surges by one and is never short
of a ready pod; a deleted pod serves no more and is gone two seconds later.
"""

from dataclasses import dataclass, field, replace
from itertools import count

from cacherollout.api.ledger import Counters
from cacherollout.core.facts import CanaryFacts, PodFacts, TargetFacts

GRACE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class App:
    """How an image behaves."""

    starts_in: float = 2
    """Seconds until its containers are ready; `inf` never."""
    hit_rate: float = 0.95
    cache_errors: float = 0.0
    http_errors: float = 0.0
    slow: float = 0.01
    corrupt: float = 0.0
    """Share of the values it stores that nobody can read."""
    foreign: float = 0.0
    """Lookups a second under another version than its own."""
    counts_cache: bool = True
    """Its cache operations show in its metrics."""


WELL = App()


@dataclass(frozen=True, slots=True)
class Template:
    """A pod template as the user wrote it."""

    image: str
    stated: str | None = None
    """The cache version that the user states literally."""
    restarted: int = 0

    @property
    def revision(self) -> str:
        """Digest without restart marks, like the real one."""
        return f"rev-{self.image}" + (f"-{self.stated}" if self.stated else "")


@dataclass(slots=True)
class ReplicaSet:
    """Pods of one template and version entry."""

    template: Template
    entry: str | None
    desired: int = 0

    @property
    def version(self) -> str:
        """Value of the version variable in its pods."""
        return self.template.stated or self.entry or ""


@dataclass(slots=True)
class Pod:
    """One pod."""

    name: str
    template: Template
    version: str
    born_at: float
    owner: ReplicaSet | None
    """None for canary pods."""
    attempt: int = 0
    is_admitted: bool = False
    ends_at: float | None = None
    is_crashing: bool = False
    counters: Counters = field(default_factory=Counters)
    foreign: float = 0.0

    @property
    def is_canary(self) -> bool:
        return self.owner is None

    @property
    def is_alive(self) -> bool:
        return self.ends_at is None


@dataclass(slots=True)
class Canary:
    """The Deployment with the canary's name."""

    uid: str
    owner: str
    """UID of the CacheRollout; empty where somebody else made it."""
    attempt: int
    template: Template
    version: str
    replicas: int


@dataclass(slots=True)
class Deployment:
    """The target."""

    uid: str
    template: Template
    replicas: int
    is_paused: bool = False
    entry: str | None = None
    """The version entry that the operator wrote, or left behind."""
    is_owned: bool = False
    """A field of it has the operator as an owner."""
    generation: int = 1
    seen: int = 0
    sets: list[ReplicaSet] = field(default_factory=list)

    @property
    def newest(self) -> ReplicaSet | None:
        """The ReplicaSet of exactly the present template."""
        wanted = (self.template, self._entry())
        return next((each for each in self.sets if (each.template, each.entry) == wanted), None)

    def _entry(self) -> str | None:
        return None if self.template.stated else self.entry

    def ensure_newest(self) -> ReplicaSet:
        found = self.newest
        if found is None:
            found = ReplicaSet(self.template, self._entry())
            self.sets.append(found)
        else:
            self.sets.remove(found)
            self.sets.append(found)
        return found

    @property
    def running_version(self) -> str | None:
        return self.template.stated or self.entry


class Cluster:
    """Deployment, canary and pods, moved on second by second."""

    def __init__(self, image: str = "a", replicas: int = 4) -> None:
        self.now = 1_000_000.0
        self.apps: dict[str, App] = {}
        self.names = count(1)
        self.pods: list[Pod] = []
        self.canary: Canary | None = None
        self.target: Deployment | None = Deployment("uid-target-1", Template(image), replicas)
        self.changed = True
        """Something that wakes the operator happened."""
        self.settle_target()

    def app(self, image: str) -> App:
        return self.apps.get(image, WELL)

    def settle_target(self) -> None:
        """As long ago as it takes for every pod to be ready."""
        for _ in range(60):
            self.control()
            self.now += 1

    def touch(self) -> None:
        """The target was written."""
        assert self.target is not None
        self.target.generation += 1
        self.changed = True

    def control(self) -> None:
        """One second of every controller."""
        before = self._look()
        self.pods = [pod for pod in self.pods if pod.ends_at is None or pod.ends_at > self.now]
        if self.target is not None:
            self._deploy(self.target)
        owners = self.target.sets if self.target else []
        for pod in list(self.pods):
            if pod.owner is not None and pod.is_alive and pod.owner not in owners:
                self.end(pod)
        self._run_canary()
        if self._look() != before:
            self.changed = True

    def _look(self) -> tuple[object, ...]:
        pods = tuple((pod.name, self.is_ready(pod), pod.is_alive) for pod in self.pods)
        return (pods, self.target.seen if self.target else 0)

    def _deploy(self, target: Deployment) -> None:
        target.seen = target.generation
        if target.is_paused:
            self._scale(target)
        else:
            self._roll(target)
        for owner in target.sets:
            mine = self.members(owner)
            for _ in range(owner.desired - len(mine)):
                self._create(owner.template, owner.version, owner)
            spare = sorted(mine, key=lambda pod: (self.is_ready(pod), -pod.born_at))
            for pod in spare[: max(0, len(mine) - owner.desired)]:
                self.end(pod)
        # Old ones stay, empty, as with the usual limit of the revision history.
        target.sets = target.sets[-10:]

    def _scale(self, target: Deployment) -> None:
        if not target.sets:
            return
        # Of none that runs, the newest.
        largest = max(reversed(target.sets), key=lambda each: each.desired)
        extra = target.replicas - sum(each.desired for each in target.sets)
        if extra == -1 and sum(each.desired > 0 for each in target.sets) > 1:
            return  # paused in the middle of a surge
        for each in [largest, *target.sets]:
            step = max(extra, -each.desired)
            each.desired += step
            extra -= step

    def _roll(self, target: Deployment) -> None:
        """Surge by one, be never short of one."""
        new = target.ensure_newest()
        old = [each for each in target.sets if each is not new and each.desired]
        total = sum(each.desired for each in target.sets)
        if not old:
            new.desired = target.replicas
            return
        if total <= target.replicas and new.desired < target.replicas:
            new.desired += 1
        ready = sum(self.is_ready(pod) for each in target.sets for pod in self.members(each))
        unready_old = [
            each for each in old if any(not self.is_ready(pod) for pod in self.members(each))
        ]
        if unready_old:
            unready_old[0].desired -= 1
        elif ready > target.replicas or total > target.replicas + 1:
            old[0].desired -= 1

    def _run_canary(self) -> None:
        canary = self.canary
        mine = [pod for pod in self.pods if pod.is_canary and pod.is_alive]
        if canary is None or not canary.owner:
            for pod in mine:
                self.end(pod)
            return
        for pod in mine[canary.replicas :]:
            self.end(pod)
        for _ in range(canary.replicas - len(mine)):
            self._create(canary.template, canary.version, None, canary.attempt)

    def _create(
        self, template: Template, version: str, owner: ReplicaSet | None, attempt: int = 0
    ) -> None:
        name = f"{'canary' if owner is None else 'api'}-{next(self.names):04}"
        self.pods.append(Pod(name, template, version, self.now, owner, attempt))

    def end(self, pod: Pod) -> None:
        if pod.ends_at is None:
            pod.ends_at = self.now + GRACE_SECONDS

    def end_canary(self) -> None:
        """Delete the canary; pods without their Deployment are on their way out."""
        self.canary = None
        for pod in self.pods:
            if pod.is_canary:
                self.end(pod)

    def members(self, owner: ReplicaSet) -> list[Pod]:
        return [pod for pod in self.pods if pod.owner is owner and pod.is_alive]

    def runs(self, pod: Pod) -> bool:
        """Its containers are ready."""
        is_up = self.now - pod.born_at >= self.app(pod.template.image).starts_in
        return is_up and not pod.is_crashing

    def is_ready(self, pod: Pod) -> bool:
        return pod.is_alive and self.runs(pod) and (not pod.is_canary or pod.is_admitted)

    def serving(self) -> list[Pod]:
        return [pod for pod in self.pods if self.is_ready(pod)]

    def target_pods(self) -> list[Pod]:
        return [pod for pod in self.pods if not pod.is_canary and pod.is_alive]

    def is_complete(self) -> bool:
        """As `kubectl rollout status` has it."""
        target = self.target
        if target is None or target.seen < target.generation:
            return False
        new = target.newest
        updated = len(self.members(new)) if new else 0
        live = self.target_pods()
        ready = sum(self.is_ready(pod) for pod in live)
        return updated == len(live) == ready == target.replicas

    def target_facts(self) -> TargetFacts | None:
        target = self.target
        if target is None:
            return None
        new = target.newest
        updated = self.members(new) if new else []
        newest = target.sets[-1] if target.sets else None
        bare = replace(target.template, restarted=0)
        return TargetFacts(
            uid=target.uid,
            resource_version=str(target.generation),
            revision=target.template.revision,
            is_paused=target.is_paused,
            replicas=target.replicas,
            ready=sum(self.is_ready(pod) for pod in self.target_pods()),
            is_complete=self.is_complete(),
            stated_version=target.template.stated,
            running_version=target.running_version,
            container="api",
            is_owned=target.is_owned,
            is_restart=new is None
            and newest is not None
            and replace(newest.template, restarted=0) == bare
            and newest.version == (target.running_version or ""),
            updated=len(updated),
            updated_ready=sum(self.is_ready(pod) for pod in updated),
        )

    def canary_facts(self, uid: str) -> CanaryFacts | None:
        canary = self.canary
        if canary is None:
            return None
        return CanaryFacts(
            uid=canary.uid,
            is_ours=canary.owner == uid,
            attempt=canary.attempt,
            revision=canary.template.revision,
            version=canary.version,
            replicas=canary.replicas,
        )

    def pod_facts(self) -> tuple[PodFacts, ...]:
        return tuple(
            PodFacts(
                name=pod.name,
                uid=f"uid-{pod.name}",
                ip="10.0.0.1",
                is_canary=pod.is_canary,
                revision=pod.template.revision,
                version=pod.version,
                is_ready=self.is_ready(pod),
                are_containers_ready=self.runs(pod),
                is_admitted=pod.is_admitted,
                is_terminating=not pod.is_alive,
                trouble="CrashLoopBackOff: api ended with exit code 1" if pod.is_crashing else "",
                metrics_port=8000,
            )
            for pod in self.pods
        )
