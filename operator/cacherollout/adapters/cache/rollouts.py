"""Implements ports.cache.Caches over Redis-compatible servers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import aiohttp

from cacherollout.adapters.cache.backends import Backend, Backends
from cacherollout.adapters.cache.problems import ProblemError, problem_of
from cacherollout.adapters.cache.replaying import replay_session
from cacherollout.adapters.cache.sessions import Session, refuse_contradictions
from cacherollout.adapters.cache.workplaces import Workplace
from cacherollout.api.names import Key
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.cache import CacheError, RefusedError
from cacherollout.core.actions import MirrorWork, Work
from cacherollout.core.facts import CacheFacts, CoherenceFacts, PodFacts, Problem, WorkFacts
from cacherollout.ports.objects import Objects

OBSERVE_SECONDS: Final = 2.0

_REVOKED: Final = frozenset((Reason.BACKEND_MISSING, Reason.INVALID_SPEC))
"""Problems after which nothing may go on: what allowed it is gone. Others leave works running."""


@dataclass(slots=True)
class _Rollout:
    """One rollout: its session, if it could be opened, and what waits for one."""

    session: Session | None = None
    waiting: tuple[Work, ...] = ()
    problem: Problem | None = None


class RedisCaches:
    """Caches by rollout; `clock` gives seconds since the epoch. To be closed."""

    def __init__(self, objects: Objects, clock: Callable[[], float]) -> None:
        self._backends = Backends(objects)
        self._http: aiohttp.ClientSession | None = None
        self._clock = clock
        self._rollouts: dict[Key, _Rollout] = {}

    async def observe(self, key: Key, spec: CacheRolloutSpec) -> CacheFacts:
        """Health, memory and the works' progress; answers within two seconds."""
        facts = await self._health(key, spec)
        rollout = self._rollouts.get(key)
        if rollout is None:
            return facts
        waiting = tuple(WorkFacts(work.key, problem=rollout.problem) for work in rollout.waiting)
        is_mirror_waiting = any(isinstance(work, MirrorWork) for work in rollout.waiting)
        coherence = CoherenceFacts(is_coherent=False) if is_mirror_waiting else None
        session = rollout.session
        if session is None:
            return replace(facts, works=waiting, coherence=coherence)
        session.tell_mirror()
        return replace(
            facts,
            works=(*session.facts(), *waiting),
            coherence=session.coherence() or coherence,
            integrity=session.integrity(),
            sizes=session.sizes(),
        )

    async def run(
        self,
        key: Key,
        spec: CacheRolloutSpec,
        works: tuple[Work, ...],
        pods: tuple[PodFacts, ...],
    ) -> None:
        """Make these the works that run; raises InvariantError where they contradict each other."""
        refuse_contradictions(works)
        if not works:
            await self.forget(key)
            return
        rollout = self._rollouts.setdefault(key, _Rollout())
        try:
            place = await self._place(key, spec)
        except ProblemError as error:
            await _hold(rollout, works, error.problem)
            return
        session = rollout.session
        if session is not None and not _is_same(session.place, place):
            await session.end_others(set())
            session = None
        if session is None:
            session = Session(place, lambda error: self._failed(place.backend, error))
        rollout.session, rollout.waiting, rollout.problem = session, (), None
        await session.make_running(works, pods)

    async def forget(self, key: Key) -> None:
        """End every work of a rollout and close its connections."""
        rollout = self._rollouts.pop(key, None)
        if rollout is not None and rollout.session is not None:
            await rollout.session.end_others(set())

    async def close(self) -> None:
        """End everything; for the end of the process."""
        for key in [*self._rollouts]:
            await self.forget(key)
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _health(self, key: Key, spec: CacheRolloutSpec) -> CacheFacts:
        try:
            async with asyncio.timeout(OBSERVE_SECONDS):
                place = await self._place(key, spec)
                # What is to begin must not begin on the answer of a server that has died since.
                checked = self._backends.check(
                    place.backend, is_asked_anew=key not in self._rollouts
                )
                memory = (await checked).memory
        except ProblemError as error:
            return CacheFacts(problem=error.problem)
        except CacheError as error:
            return CacheFacts(problem=problem_of(error))
        except TimeoutError:
            text = f"the cache was not found to answer within {OBSERVE_SECONDS:g} s; try again"
            return CacheFacts(problem=Problem(Reason.CACHE_UNAVAILABLE, text))
        return CacheFacts(used_memory=memory.used_bytes, max_memory=memory.limit_bytes)

    async def _place(self, key: Key, spec: CacheRolloutSpec) -> Workplace:
        backend = await self._backends.resolve(Key(key.namespace, spec.cache.backend_ref.name))
        if self._http is None:
            self._http = replay_session()
        return Workplace(backend, spec, self._http, self._clock)

    def _failed(self, backend: Backend, error: Exception) -> None:
        if isinstance(error, RefusedError):
            self._backends.distrust(backend)


async def _hold(rollout: _Rollout, works: tuple[Work, ...], problem: Problem) -> None:
    """Begin nothing; end what is no longer asked for, or no longer allowed."""
    wanted = {work.key: work for work in works}
    running: set[str] = set()
    if rollout.session is not None:
        kept = set() if problem.reason in _REVOKED else set(wanted)
        await rollout.session.end_others(kept)
        running = {facts.key for facts in rollout.session.facts()}
        if not running:
            rollout.session = None
    rollout.waiting = tuple(work for key, work in wanted.items() if key not in running)
    rollout.problem = problem


def _is_same(one: Workplace, other: Workplace) -> bool:
    """Whether works begun at one place may go on at the other."""
    return one.backend is other.backend and one.spec.cache.families == other.spec.cache.families
