"""A cache in memory: how full each version's namespace is, and the works that run on it."""

from dataclasses import dataclass, field

from cacherollout.api.reasons import Reason
from cacherollout.core.actions import (
    CopyWork,
    KeepWork,
    MirrorWork,
    PublishWork,
    ReplayWork,
    RetireWork,
    VerifyWork,
    Work,
)
from cacherollout.core.facts import (
    CacheFacts,
    CoherenceFacts,
    FamilyProgress,
    IntegritySample,
    NamespaceSize,
    Problem,
    WorkFacts,
)

TTL_SECONDS = 120.0
FULL = 1000


@dataclass(slots=True)
class Namespace:
    """The keys of one version."""

    warmth: float = 0.0
    """Share (0…1) of the traffic's keys that are there."""
    fresh_at: float = 0.0
    """When its keys were last stored or touched."""
    corrupt: float = 0.0
    """Share of unreadable values."""


@dataclass(slots=True)
class Running:
    """A work that was asked for."""

    work: Work
    seconds: int = 0
    is_done: bool = False
    since: float | None = None
    """Since when what it keeps so is so."""


@dataclass(slots=True)
class Cache:
    """Namespaces by version; works live in the operator's process and die with it."""

    namespaces: dict[str, Namespace] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    is_down: bool = False
    is_stuck: bool = False
    """It answers, but no work gets on."""
    is_cut: bool = False
    """The mirror has lost its connection."""
    used_memory: int | None = None
    retired: list[str] = field(default_factory=list)
    """Versions whose keys were removed, in order."""
    published: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys that name the versions in use."""
    publications: list[tuple[str, ...]] = field(default_factory=list)
    """All that was published, in order."""
    named_since: dict[str, float] = field(default_factory=dict)
    """Since when a version is named without a break; a lost key is none, for pods go by the last."""
    is_unwritable: bool = False
    """The operator's user may not write such a key."""

    def space(self, version: str) -> Namespace:
        return self.namespaces.setdefault(version, Namespace())

    def warmth(self, version: str) -> float:
        space = self.namespaces.get(version)
        return space.warmth if space else 0.0

    def ask(self, works: tuple[Work, ...]) -> bool:
        """Make these the works that run; whether that changes anything."""
        wanted = {work.key: work for work in works}
        is_new = wanted.keys() != self.running.keys()
        known = self.running
        self.running = {
            key: Running(work, known[key].seconds, known[key].is_done, known[key].since)
            if key in known
            else Running(work)
            for key, work in wanted.items()
        }
        return is_new

    def tick(self, now: float, served: set[str], canaries: int) -> None:
        """One second: keys are stored, touched, copied, removed, or expire."""
        if self.is_down:
            return
        for version in served:
            space = self.space(version)
            space.warmth = min(1.0, space.warmth + 0.02)
            space.fresh_at = now
        for each in () if self.is_stuck else self.running.values():
            each.seconds += 1
            self._work(each, now, canaries)
        for version, space in list(self.namespaces.items()):
            if now - space.fresh_at > TTL_SECONDS:
                del self.namespaces[version]

    def _work(self, each: Running, now: float, canaries: int) -> None:
        work = each.work
        match work:
            case CopyWork():
                space = self.space(work.target)
                space.warmth = max(space.warmth, min(self.warmth(work.source), space.warmth + 0.34))
                space.fresh_at = now
                each.is_done = each.is_done or space.warmth >= 0.9 * self.warmth(work.source)
            case ReplayWork() if canaries:
                space = self.space(work.target)
                space.warmth, space.fresh_at = min(1.0, space.warmth + 0.2), now
                each.is_done = each.is_done or space.warmth >= work.coverage
            case MirrorWork() if not self.is_cut:
                spaces = [self.space(work.one), self.space(work.other)]
                freshest = max(space.fresh_at for space in spaces)
                for space in spaces if work.copied else ():
                    space.fresh_at = freshest
            case KeepWork() if now <= work.until and work.version in self.namespaces:
                self.space(work.version).fresh_at = now
            case RetireWork() if each.seconds >= 2 and not each.is_done:
                for version in work.versions:
                    self.namespaces.pop(version, None)
                    self.retired.append(version)
                each.is_done = True
            case PublishWork() if not self.is_unwritable:
                if self.published.get(work.at) != work.versions:
                    self._publish(work, now)
                    each.since = None
                each.since = now if each.since is None else each.since
            case _:
                pass

    def _publish(self, work: PublishWork, now: float) -> None:
        self.published[work.at] = work.versions
        self.publications.append(work.versions)
        self.named_since = {name: self.named_since.get(name, now) for name in work.versions}

    def facts(self) -> CacheFacts:
        problem = (
            Problem(Reason.CACHE_UNAVAILABLE, "The cache at redis:6379 does not answer.")
            if self.is_down
            else None
        )
        mirror = next(
            (each for each in self.running.values() if isinstance(each.work, MirrorWork)), None
        )
        coherence = None
        if mirror is not None:
            is_coherent = mirror.seconds >= 1 and not self.is_cut and not self.is_down
            coherence = CoherenceFacts(is_coherent, lag_seconds=0.001)
        return CacheFacts(
            problem=problem,
            used_memory=self.used_memory,
            max_memory=1000 if self.used_memory is not None else None,
            works=tuple(self._facts(each, problem) for each in self.running.values()),
            coherence=coherence,
            integrity=tuple(
                self._sample(each.work)
                for each in self.running.values()
                if isinstance(each.work, VerifyWork)
            ),
            sizes=tuple(
                NamespaceSize(version, round(space.warmth * FULL), round(space.warmth * FULL) * 512)
                for version, space in sorted(self.namespaces.items())
            ),
        )

    def _facts(self, each: Running, problem: Problem | None) -> WorkFacts:
        work, families = each.work, tuple[FamilyProgress, ...]()
        if isinstance(work, CopyWork | ReplayWork):
            done = round(self.warmth(work.target) * FULL)
            families = tuple(
                FamilyProgress(name, done, FULL, coverage=done / FULL) for name in work.families
            )
        if isinstance(work, RetireWork):
            families = (FamilyProgress("user", FULL if each.is_done else 0, FULL),)
        if isinstance(work, PublishWork) and self.is_unwritable:
            problem = Problem(Reason.CACHE_ACCESS_DENIED, "app:versions may not be written.")
        return WorkFacts(each.work.key, each.is_done, families, problem=problem, since=each.since)

    def _sample(self, work: VerifyWork) -> IntegritySample:
        space = self.namespaces.get(work.version)
        if space is None or not space.warmth:
            return IntegritySample(work.version)
        corrupt = round(work.sample * space.corrupt)
        return IntegritySample(work.version, work.sample, corrupt, "role is missing")
