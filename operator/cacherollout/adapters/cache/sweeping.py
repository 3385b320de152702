"""Works that are walks over keys: copy, keep, verify, retire, and the survey beside them."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

from cacherollout.adapters.cache.workplaces import Workplace
from cacherollout.cache import (
    Copy,
    FamilyVerdict,
    Keep,
    NamespaceSurvey,
    Progress,
    Retire,
    Verify,
    glance,
)
from cacherollout.core.actions import CopyWork, KeepWork, RetireWork, VerifyWork
from cacherollout.core.facts import (
    FamilyProgress,
    IntegritySample,
    NamespaceSize,
    WorkFacts,
)

VERIFY_SECONDS: Final = 5.0
"""Time between two samples of the integrity gate."""
SURVEY_SECONDS: Final = 15.0
"""Time between two counts of the namespaces, which only people read."""
EXAMINED_KEYS: Final = 20_000
"""Most keys that one sample or one count looks at; of larger caches the rest is estimated."""
LEAST_KEEP_SECONDS: Final = 1.0


class _Operation(Protocol):
    @property
    def progress(self) -> Progress: ...


def progress_facts(key: str, operation: _Operation | None, families: tuple[str, ...]) -> WorkFacts:
    """An operation's progress; its estimate of the total is shared out among the families.

    The walk meets keys in hash order, so each family is as far as all of them together.
    """
    if operation is None:
        return WorkFacts(key, families=tuple(FamilyProgress(name) for name in families))
    progress = operation.progress
    share = (progress.total or 0) / progress.done if progress.done else 0.0
    counts = [(name, progress.families.get(name, 0)) for name in families]
    return WorkFacts(
        key,
        families=tuple(FamilyProgress(name, done, round(done * share)) for name, done in counts),
        keys_per_second=progress.keys_per_second,
        eta_seconds=None if progress.is_finished else progress.eta_seconds,
    )


class CopyRunner:
    """Runs a CopyWork: over the mirror where there is one, so that no deletion is lost."""

    def __init__(self, place: Workplace, work: CopyWork) -> None:
        self._place = place
        self._work = work
        self._operation: Copy | None = None

    @property
    def mark(self) -> object:
        """Keys done."""
        return self._operation.progress.done if self._operation else 0

    def adjust(self, work: CopyWork) -> None:
        """Same identity, nothing else to take over."""
        self._work = work

    async def run(self) -> None:
        """Copy what is missing."""
        work = self._work
        server = await self._place.mirrored_server(work.source, work.target)
        self._operation = Copy(
            server,
            self._place.families(work.families),
            source=work.source,
            target=work.target,
            # After a restart of the operator the target may serve while the copy is made again.
            is_target_serving=True,
            limits=self._place.limits,
        )
        await self._operation.run()

    def facts(self) -> WorkFacts:
        """Keys of each family."""
        return progress_facts(self._work.key, self._operation, self._work.families)


class RetireRunner:
    """Runs a RetireWork."""

    def __init__(self, place: Workplace, work: RetireWork) -> None:
        self._place = place
        self._work = work
        self._operation: Retire | None = None

    @property
    def mark(self) -> object:
        """Keys done."""
        return self._operation.progress.done if self._operation else 0

    def adjust(self, work: RetireWork) -> None:
        """Same identity, nothing else to take over."""
        self._work = work

    async def run(self) -> None:
        """Remove every key of the versions."""
        self._operation = Retire(
            self._place.server(),
            self._place.families(),
            versions=self._work.versions,
            limits=self._place.limits,
        )
        await self._operation.run()

    def facts(self) -> WorkFacts:
        """Keys of each family."""
        families = tuple(family.name for family in self._place.spec.cache.families)
        return progress_facts(self._work.key, self._operation, families)


class KeepRunner:
    """Runs a KeepWork: once at once, then again before keys written since could run out."""

    def __init__(self, place: Workplace, work: KeepWork) -> None:
        self._place = place
        self._work = work
        self._operation: Keep | None = None
        self._rounds = 0
        self._adjusted = asyncio.Event()

    @property
    def mark(self) -> object:
        """Rounds, and keys done in this one."""
        return self._rounds, self._operation.progress.done if self._operation else 0

    def adjust(self, work: KeepWork) -> None:
        """Take over a later end."""
        if work.until != self._work.until:
            self._work = work
            self._adjusted.set()

    async def run(self) -> None:
        """Keep until the end that the work names."""
        shortest = min(family.ttl for family in self._place.spec.cache.families)
        while True:
            self._adjusted.clear()
            left = self._work.until - self._place.clock()
            if left < LEAST_KEEP_SECONDS:
                return
            self._operation = Keep(
                await self._place.mirrored_server(self._work.version),
                self._place.families(),
                version=self._work.version,
                ttl_seconds=left,
                limits=self._place.limits,
            )
            await self._operation.run()
            self._rounds += 1
            await self._rest(min(max(shortest / 3, LEAST_KEEP_SECONDS), left))

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._adjusted.wait()
        except TimeoutError:
            return

    def facts(self) -> WorkFacts:
        """Keys of each family, in the present round."""
        families = tuple(family.name for family in self._place.spec.cache.families)
        return progress_facts(self._work.key, self._operation, families)


@dataclass(slots=True)
class _Findings:
    """Samples of one family, the newest last, together no more than the family has keys.

    A namespace that is sampled again and again would otherwise make overwhelming evidence of a
    single bad value.
    """

    rounds: deque[tuple[int, int]] = field(default_factory=deque)

    def add(self, verdict: FamilyVerdict, keys: int) -> None:
        """Take a sample in, of a family that has about so many keys."""
        self.rounds.append((verdict.sampled, verdict.corrupt))
        while len(self.rounds) > 1 and self.sampled > keys:
            self.rounds.popleft()

    @property
    def sampled(self) -> int:
        """Values judged."""
        return sum(sampled for sampled, _ in self.rounds)

    @property
    def corrupt(self) -> int:
        """Values that no reader could use."""
        return sum(corrupt for _, corrupt in self.rounds)


class VerifyRunner:
    """Runs a VerifyWork: samples for as long as it is asked for."""

    def __init__(self, place: Workplace, work: VerifyWork) -> None:
        self._place = place
        self._work = work
        self._findings = {family.name: _Findings() for family in place.spec.cache.families}
        self._example = ""
        self._rounds = 0

    @property
    def mark(self) -> object:
        """Rounds."""
        return self._rounds

    def adjust(self, work: VerifyWork) -> None:
        """Take over another size of the samples."""
        self._work = work

    async def run(self) -> None:
        """Sample until cancelled."""
        place, version = self._place, self._work.version
        families = place.families()
        while True:
            report = await Verify(
                place.server(),
                families,
                version=version,
                sample=self._work.sample,
                limits=place.limits,
                examine_at_most=EXAMINED_KEYS,
            ).run()
            for verdict in report.families:
                keys = place.keys_of(verdict.family, version)
                self._findings[verdict.family].add(verdict, keys)
                self._example = example_of(verdict) or self._example
            self._rounds += 1
            await asyncio.sleep(VERIFY_SECONDS)

    def facts(self) -> WorkFacts:
        """Values sampled of each family."""
        return WorkFacts(
            self._work.key,
            families=tuple(
                FamilyProgress(name, findings.sampled, findings.sampled)
                for name, findings in self._findings.items()
            ),
        )

    def integrity(self) -> IntegritySample:
        """What the samples since the work began say about the version; none counted twice."""
        return IntegritySample(
            self._work.version,
            sampled=sum(findings.sampled for findings in self._findings.values()),
            corrupt=sum(findings.corrupt for findings in self._findings.values()),
            example=self._example,
        )


class SurveyRunner:
    """Counts the namespaces now and then; not a work of the core, but people want to see it."""

    def __init__(self, place: Workplace, versions: tuple[str, ...]) -> None:
        self._place = place
        self._rounds = 0
        self.versions = versions
        self.sizes: tuple[NamespaceSize, ...] = ()
        """As last counted."""

    @property
    def mark(self) -> object:
        """Rounds."""
        return self._rounds

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            versions = self.versions
            counted = await count_namespaces(self._place, versions)
            self._place.counted = counted
            self.sizes = tuple(
                NamespaceSize(
                    version,
                    keys=sum(one.keys for one in counted if one.version == version),
                    bytes=sum(one.bytes for one in counted if one.version == version),
                )
                for version in versions
            )
            self._rounds += 1
            await asyncio.sleep(SURVEY_SECONDS)

    def facts(self) -> WorkFacts:
        """Nothing that the core asked for."""
        return WorkFacts("survey")


async def count_namespaces(
    place: Workplace, versions: tuple[str, ...]
) -> tuple[NamespaceSurvey, ...]:
    """Keys and bytes of each family under each version: exact on small servers, else estimated."""
    report = await glance(
        place.server(), place.families(), versions, place.limits, examine_at_most=EXAMINED_KEYS
    )
    return report.namespaces


def example_of(verdict: FamilyVerdict) -> str:
    """What is wrong with a family's values, without any of them."""
    if verdict.missing:
        name, count = max(verdict.missing.items(), key=lambda item: item[1])
        return f"{count} of {verdict.sampled} values of {verdict.family} lack the field {name!r}"
    if verdict.undecodable:
        return (
            f"{verdict.undecodable} of {verdict.sampled} values of {verdict.family} do not decode"
        )
    return ""
