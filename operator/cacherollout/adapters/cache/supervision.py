"""Keeps one work running: begins it again after a failure, ever later, and says why meanwhile."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar

from cacherollout.adapters.cache.problems import ProblemError, problem_of
from cacherollout.api.reasons import Reason
from cacherollout.cache import CacheError
from cacherollout.core.facts import Problem, WorkFacts

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 1.0
LAST_PAUSE_SECONDS: Final = 10.0


class Runner(Protocol):
    """One work: how it is done and how far it is."""

    async def run(self) -> None:
        """Do it; ends when there is nothing left to do. Raises CacheError or ProblemError."""
        ...

    def facts(self) -> WorkFacts:
        """How far it is; `is_done` and `problem` are filled in by the supervision."""
        ...

    @property
    def mark(self) -> object:
        """Changes whenever the work advances."""
        ...


RunnerT_co = TypeVar("RunnerT_co", bound=Runner, covariant=True)


class Supervised(Generic[RunnerT_co]):
    """A running work. Made running; `end` it."""

    def __init__(self, runner: RunnerT_co, on_failure: Callable[[Exception], None]) -> None:
        self._runner = runner
        self._on_failure = on_failure
        self._failure: tuple[Problem, object] | None = None
        self.is_done = False
        self._task = asyncio.create_task(self._keep_running(), name=runner.facts().key)

    @property
    def runner(self) -> RunnerT_co:
        """What runs."""
        return self._runner

    async def end(self) -> None:
        """Cancel the work and wait until it has ended."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def facts(self) -> WorkFacts:
        """How far the work is, whether it is done, and what stands in its way."""
        facts = self.runner.facts()
        return replace(facts, is_done=self.is_done, problem=self.problem)

    @property
    def problem(self) -> Problem | None:
        """Why the work does not advance; None as soon as it does again."""
        if self._failure is None or self._failure[1] != self.runner.mark:
            return None
        return self._failure[0]

    async def _keep_running(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            before = self.runner.mark
            try:
                await self.runner.run()
            except (CacheError, ProblemError) as error:
                found = error.problem if isinstance(error, ProblemError) else problem_of(error)
                self._on_failure(error)
            except Exception:
                log.exception("A cache work failed by a fault of the operator's own")
                found = Problem(
                    Reason.INTERNAL_ERROR,
                    "a cache work failed by a fault of the operator's own; see its log",
                )
            else:
                self.is_done = True
                self._failure = None
                return
            if self.runner.mark != before:
                pause_seconds = FIRST_PAUSE_SECONDS
            self._failure = (found, self.runner.mark)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LAST_PAUSE_SECONDS)
