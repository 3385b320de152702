"""The operator's cache works, run against the simulated namespaces."""

from dataclasses import dataclass, field, replace

from cacherollout.api.reasons import Reason
from cacherollout.core.actions import (
    CopyWork,
    MirrorWork,
    PublishWork,
    ReplayWork,
    VerifyWork,
    Work,
)
from cacherollout.core.facts import (
    CacheFacts,
    CoherenceFacts,
    FamilyProgress,
    IntegritySample,
    Problem,
    WorkFacts,
)
from cacherollout.core.plan.scenes import Scene
from cacherollout.core.plan.stores import Linked


@dataclass(slots=True)
class Works:
    """The works that run now; a work that is asked for again goes on."""

    scene: Scene
    families: dict[str, Linked]
    """Namespaces by the family's name."""
    _running: dict[str, Work] = field(default_factory=dict)
    _seconds: dict[str, int] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)

    def ask(self, works: tuple[Work, ...]) -> None:
        """Make these the works that run."""
        self._running = {work.key: work for work in works}
        self._seconds = {key: self._seconds.get(key, 0) for key in self._running}
        self._done &= self._running.keys()

    def advance(self) -> bool:
        """One second of every work; whether one came to its end."""
        before = len(self._done)
        for key, work in self._running.items():
            self._seconds[key] += 1
            match work:
                case CopyWork() if self._has_room():
                    self._copy(work)
                case ReplayWork() if key not in self._done:
                    self._replay(work)
                case _:
                    pass
        return len(self._done) != before

    def _copy(self, work: CopyWork) -> None:
        left = self.scene.copies_per_second
        for name in work.families:
            family = self.families[name]
            was = family.sizes()[1]
            family.copy_keys(left)
            left -= family.sizes()[1] - was
        if all(self.families[name].copied_share >= 1 for name in work.families):
            self._done.add(work.key)

    def _replay(self, work: ReplayWork) -> None:
        """One family after the other, the hottest ids first."""
        for name in work.families:
            family = self.families[name]
            if family.coverage() < work.coverage:
                family.replay_keys(work.per_second)
                return
        self._done.add(work.key)

    def bytes(self) -> float:
        """Memory of the new version's keys."""
        return sum(
            family.sizes()[1] * family.population.key_bytes for family in self.families.values()
        )

    def _has_room(self) -> bool:
        ceiling, used = self.scene.ceiling_bytes, self.scene.used_bytes
        return ceiling is None or used is None or used + self.bytes() < ceiling

    def facts(self, now: float) -> CacheFacts:
        """What the operator sees of the cache at this time."""
        used = self.scene.used_bytes
        mirror = next(
            (key for key, work in self._running.items() if isinstance(work, MirrorWork)), None
        )
        facts = CacheFacts(
            used_memory=None if used is None else round(used + self.bytes()),
            max_memory=self.scene.limit_bytes,
            works=tuple(self._facts(work, now) for work in self._running.values()),
            integrity=tuple(
                self._sample(work)
                for work in self._running.values()
                if isinstance(work, VerifyWork)
            ),
        )
        if mirror is None:
            return facts
        return replace(facts, coherence=CoherenceFacts(self._seconds[mirror] >= 1))

    def _facts(self, work: Work, now: float) -> WorkFacts:
        problem = None
        since = now - self._seconds[work.key] if isinstance(work, PublishWork) else None
        if isinstance(work, CopyWork) and not self._has_room():
            problem = Problem(
                Reason.CACHE_FULL, "a second copy of the keys does not fit below the ceiling"
            )
        families: tuple[FamilyProgress, ...] = ()
        if isinstance(work, CopyWork | ReplayWork):
            families = tuple(self._progress(name) for name in work.families)
        return WorkFacts(work.key, work.key in self._done, families, problem=problem, since=since)

    def _progress(self, name: str) -> FamilyProgress:
        family = self.families[name]
        if family.is_copied:
            old, new = family.sizes()
            return FamilyProgress(name, round(new), round(old), coverage=family.copied_share)
        coverage, ids = family.coverage(), family.hot_ids()
        return FamilyProgress(name, round(coverage * ids), round(ids), coverage=coverage)

    def _sample(self, work: VerifyWork) -> IntegritySample:
        """Values are taken to be sound: whether they are, only a release itself can show."""
        is_there = any(family.sizes()[1] >= 1 for family in self.families.values())
        return IntegritySample(work.version, sampled=work.sample if is_there else 0)
