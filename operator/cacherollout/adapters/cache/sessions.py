"""The works of one rollout: exactly those that are asked for run, under supervision."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, assert_never

from cacherollout.adapters.cache.mirroring import MirrorRunner
from cacherollout.adapters.cache.publishing import PublishRunner
from cacherollout.adapters.cache.replaying import ReplayRunner
from cacherollout.adapters.cache.supervision import Supervised
from cacherollout.adapters.cache.sweeping import (
    CopyRunner,
    KeepRunner,
    RetireRunner,
    SurveyRunner,
    VerifyRunner,
)
from cacherollout.adapters.cache.workplaces import Workplace
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
    CoherenceFacts,
    IntegritySample,
    NamespaceSize,
    PodFacts,
    WorkFacts,
)
from cacherollout.ports.errors import InvariantError

WorkRunner = (
    CopyRunner
    | ReplayRunner
    | MirrorRunner
    | VerifyRunner
    | KeepRunner
    | RetireRunner
    | PublishRunner
)

_SURVEY: Final = "survey"


class Session:
    """Runs the works of one rollout on one backend."""

    def __init__(self, place: Workplace, on_failure: Callable[[Exception], None]) -> None:
        self.place = place
        self._on_failure = on_failure
        self._running: dict[str, Supervised[WorkRunner]] = {}
        self._survey: Supervised[SurveyRunner] | None = None
        self._mirror: MirrorRunner | None = None

    async def make_running(self, works: tuple[Work, ...], pods: tuple[PodFacts, ...]) -> None:
        """Make these the works that run. What is ended has ended before anything is begun."""
        refuse_contradictions(works)
        self.place.set_pods(pods)
        wanted = {work.key: work for work in works}
        await self.end_others(set(wanted))
        for key, work in wanted.items():
            if key in self._running:
                adjust(self._running[key].runner, work)
                continue
            runner = build(self.place, work)
            if isinstance(runner, MirrorRunner):
                self._mirror = self.place.mirror = runner
            self._running[key] = Supervised(runner, self._on_failure)
        self._count(sorted({version for work in works for version in versions_of(work)}))
        self.tell_mirror()

    async def end_others(self, kept: set[str]) -> None:
        """End every work but these."""
        over = [self._running.pop(key) for key in [*self._running] if key not in kept]
        for one in over:
            if one.runner is self._mirror:
                self._mirror = self.place.mirror = None
        ending = [one.end() for one in over]
        if not kept and self._survey is not None:
            ending.append(self._survey.end())
            self._survey = None
        await asyncio.gather(*ending)

    def tell_mirror(self) -> None:
        """Let the mirror know whether traffic may reach the new version by now.

        Too early, and a repair would take from the serving version what the other one lacks; too
        late, and what the new version's pods invalidate would stay in the old one. Canary pods are
        admitted soon after the last filling work has said that it is done (or, with nothing to
        fill, after they are ready), and no pass sees it before it happens; with the old version's
        TTLs being kept, promotion has begun.
        """
        if self._mirror is None:
            return
        runners = [one.runner for one in self._running.values()]
        filling = [
            one
            for one in self._running.values()
            if isinstance(one.runner, CopyRunner | ReplayRunner)
        ]
        pods = self.place.pods
        is_filled = all(one.is_done for one in filling)
        is_ready = any(pod.are_containers_ready for pod in pods)
        self._mirror.serve(
            is_target_used=any(isinstance(runner, KeepRunner) for runner in runners)
            or any(pod.is_admitted for pod in pods)
            or (is_filled and (bool(filling) or is_ready))
        )

    def facts(self) -> tuple[WorkFacts, ...]:
        """How far each work is."""
        return tuple(one.facts() for one in self._running.values())

    def coherence(self) -> CoherenceFacts | None:
        """What the mirror says; None where none was asked for."""
        return self._mirror.coherence() if self._mirror else None

    def integrity(self) -> tuple[IntegritySample, ...]:
        """What the samples say."""
        runners = (one.runner for one in self._running.values())
        return tuple(one.integrity() for one in runners if isinstance(one, VerifyRunner))

    def sizes(self) -> tuple[NamespaceSize, ...]:
        """Keys of the versions that the works are about, as last counted."""
        return self._survey.runner.sizes if self._survey else ()

    def _count(self, versions: list[str]) -> None:
        if self._survey is not None:
            self._survey.runner.versions = tuple(versions)
        elif versions:
            runner = SurveyRunner(self.place, tuple(versions))
            self._survey = Supervised(runner, self._on_failure)


def build(place: Workplace, work: Work) -> WorkRunner:
    """The runner of a work."""
    match work:
        case CopyWork():
            return CopyRunner(place, work)
        case ReplayWork():
            return ReplayRunner(place, work)
        case MirrorWork():
            return MirrorRunner(place, work)
        case VerifyWork():
            return VerifyRunner(place, work)
        case KeepWork():
            return KeepRunner(place, work)
        case RetireWork():
            return RetireRunner(place, work)
        case PublishWork():
            return PublishRunner(place, work)
        case _:
            assert_never(work)


def adjust(runner: Any, work: Work) -> None:
    """Hand what is not part of a work's identity to its runner."""
    runner.adjust(work)


def versions_of(work: Work) -> tuple[str, ...]:
    """The versions whose keys a work is about."""
    match work:
        case CopyWork() | ReplayWork():
            return (work.source, work.target)
        case MirrorWork():
            return (work.one, work.other)
        case VerifyWork() | KeepWork():
            return (work.version,)
        case RetireWork():
            return work.versions
        case PublishWork():
            return ()  # it names versions, and touches none of their keys
        case _:
            assert_never(work)


def refuse_contradictions(works: tuple[Work, ...]) -> None:
    """Raise InvariantError where keys would be removed that another work is there to preserve."""
    doomed = {
        version for work in works if isinstance(work, RetireWork) for version in work.versions
    }
    needed = {
        version
        for work in works
        if not isinstance(work, RetireWork)
        for version in versions_of(work)
    }
    if both := sorted(doomed & needed):
        raise InvariantError(f"keys of {', '.join(both)} were to be removed and kept at once")
