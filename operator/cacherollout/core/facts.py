"""What the shell observed, as frozen values. A pass of the core sees nothing else.

Facts are looked at afresh on every pass; what cannot be looked at again lives in the ledger.
Times are seconds since the epoch.
"""

from dataclasses import dataclass, field

from cacherollout.api.ledger import Counters


@dataclass(frozen=True, slots=True)
class Problem:
    """Something outside is not as it must be; `reason` is one of api.reasons.Reason."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """The Deployment under the hold, as read a moment ago."""

    uid: str
    resource_version: str
    revision: str
    """Digest of the pod template without our own env entry, restart marks and hash labels."""
    is_paused: bool
    replicas: int
    """What its spec asks for."""
    ready: int
    is_complete: bool
    """Its controller has seen the newest template and every pod runs it and is available."""
    stated_version: str | None
    """Cache version that somebody else than us wrote literally into the template."""
    running_version: str | None
    """Cache version in the template, whoever wrote it."""
    container: str
    """Container that carries the version."""
    is_owned: bool = False
    """True where a field of it still has our field manager as an owner."""
    is_restart: bool = False
    """True when the template differs from its newest ReplicaSet by a restart mark only."""
    updated: int = 0
    """Pods of the newest template."""
    updated_ready: int = 0
    """Pods of the newest template that are ready."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod of the target or of the canary."""

    name: str
    uid: str
    ip: str
    is_canary: bool
    revision: str
    """Digest of its template, like TargetFacts.revision."""
    version: str
    """Value of its cache version variable; empty where it has none."""
    is_ready: bool
    """Takes traffic: containers ready and every readiness gate open."""
    are_containers_ready: bool
    is_admitted: bool
    is_terminating: bool = False
    trouble: str = ""
    """Why a container does not run, such as `CrashLoopBackOff: …`; empty when nothing is wrong."""
    metrics_port: int | None = None
    """First port that the container of the cache version declares; None where it declares none."""


@dataclass(frozen=True, slots=True)
class CanaryFacts:
    """The Deployment that carries our canary's name."""

    uid: str
    is_ours: bool
    """Owned by this CacheRollout's UID."""
    attempt: int
    revision: str
    version: str
    replicas: int
    is_terminating: bool = False


@dataclass(frozen=True, slots=True)
class FamilyProgress:
    """How far the work on one family is."""

    family: str
    done: int = 0
    total: int = 0
    coverage: float | None = None
    """Share (0…1) of the traffic's keys that the new namespace holds; None where not probed."""


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """A cache work that was asked for and how far it is; see core.actions.Work."""

    key: str
    """Identity of the work."""
    is_done: bool = False
    families: tuple[FamilyProgress, ...] = ()
    keys_per_second: float = 0.0
    eta_seconds: float | None = None
    problem: Problem | None = None
    """Why it does not advance; it is tried again by itself."""
    since: float | None = None
    """Since when, without a break, what the work keeps so has been so; None while it is not."""


@dataclass(frozen=True, slots=True)
class CoherenceFacts:
    """The mirror between two versions of the namespace."""

    is_coherent: bool
    lag_seconds: float | None = None
    incoherent_since: float | None = None


@dataclass(frozen=True, slots=True)
class IntegritySample:
    """Stored values that were read and looked into, since the work began."""

    version: str
    sampled: int = 0
    corrupt: int = 0
    example: str = ""
    """What was wrong with one of them, without any stored value."""


@dataclass(frozen=True, slots=True)
class NamespaceSize:
    """Keys of one version, over all families, as last counted."""

    version: str
    keys: int
    bytes: int


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """The cache behind the target."""

    problem: Problem | None = None
    used_memory: int | None = None
    max_memory: int | None = None
    """None where the server has no limit."""
    works: tuple[WorkFacts, ...] = ()
    coherence: CoherenceFacts | None = None
    integrity: tuple[IntegritySample, ...] = ()
    sizes: tuple[NamespaceSize, ...] = ()

    def work(self, key: str) -> WorkFacts | None:
        """The work with this identity, if it was asked for."""
        return next((work for work in self.works if work.key == key), None)


@dataclass(frozen=True, slots=True)
class PodMeasurement:
    """Cumulative counters of one pod at one moment."""

    uid: str
    counters: Counters
    foreign_lookups: float = 0.0
    """Lookups under another version than the pod's own."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One scrape of all pods. Seeing the same one twice changes nothing."""

    at: float
    pods: tuple[PodMeasurement, ...]
    problem: Problem | None = None
    """Why pods are missing from it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A person's request by annotation."""

    verb: str
    revision: str | None = None
    """Revision that it speaks of; None speaks of whatever is under way."""
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that one pass knows of the world."""

    uid: str
    """UID of the CacheRollout."""
    name: str
    generation: int
    is_deleting: bool = False
    has_finalizer: bool = False
    request: Request | None = None
    problem: Problem | None = None
    """Something that stops every step: a missing backend, an older rollout on the same target."""
    target: TargetFacts | None = None
    canary: CanaryFacts | None = None
    pods: tuple[PodFacts, ...] = ()
    snapshots: frozenset[str] = frozenset()
    """Revisions whose templates are kept."""
    cache: CacheFacts = field(default_factory=CacheFacts)
    measurement: Measurement | None = None

    def canary_pods(self) -> tuple[PodFacts, ...]:
        """Pods of the canary that are not going away."""
        return tuple(pod for pod in self.pods if pod.is_canary and not pod.is_terminating)

    def target_pods(self) -> tuple[PodFacts, ...]:
        """Pods of the target that are not going away."""
        return tuple(pod for pod in self.pods if not pod.is_canary and not pod.is_terminating)
