"""A work that fails is begun again, ever later, and says why until it advances."""

import asyncio

import pytest

from cacherollout.adapters.cache.supervision import LAST_PAUSE_SECONDS, Supervised
from cacherollout.api.reasons import Reason
from cacherollout.cache import HeadroomError, RefusedError, UnreachableError
from cacherollout.core.facts import WorkFacts


class Work:
    """Does what its script says: raises, or ends, or waits for ever."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.begun_at: list[float] = []
        self.done = 0

    @property
    def mark(self) -> object:
        return self.done

    async def run(self) -> None:
        self.begun_at.append(asyncio.get_running_loop().time())
        if not self.script:
            await asyncio.Event().wait()
        step = self.script.pop(0)
        if step is not None:
            raise step

    def facts(self) -> WorkFacts:
        return WorkFacts("work")


def ignore(_: Exception) -> None: ...


@pytest.mark.looptime
async def test_pauses_grow_up_to_a_bound() -> None:
    work = Work(*[UnreachableError("gone") for _ in range(8)])
    supervised = Supervised(work, ignore)
    await asyncio.sleep(100)
    pauses = [later - begun for begun, later in zip(work.begun_at, work.begun_at[1:], strict=False)]
    assert pauses == pytest.approx([1, 2, 4, 8, *[LAST_PAUSE_SECONDS] * 4])
    await supervised.end()


@pytest.mark.looptime
async def test_a_work_that_advanced_before_it_failed_is_begun_again_soon() -> None:
    class Advancing(Work):
        async def run(self) -> None:
            self.done += 1
            await super().run()

    work = Advancing(*[UnreachableError("gone") for _ in range(5)])
    supervised = Supervised(work, ignore)
    await asyncio.sleep(20)
    assert work.begun_at[-1] - work.begun_at[0] == pytest.approx(5)
    await supervised.end()


@pytest.mark.looptime
async def test_the_problem_stays_until_the_work_advances() -> None:
    work = Work(HeadroomError("no room"))
    supervised = Supervised(work, ignore)
    await asyncio.sleep(5)
    problem = supervised.facts().problem
    assert problem
    assert problem.reason == Reason.CACHE_FULL
    work.done = 1
    assert supervised.facts().problem is None
    assert not supervised.facts().is_done
    await supervised.end()


@pytest.mark.looptime
async def test_a_work_that_ends_is_done() -> None:
    work = Work(UnreachableError("gone"), None)
    supervised = Supervised(work, ignore)
    await asyncio.sleep(5)
    assert supervised.facts().is_done
    assert supervised.facts().problem is None
    assert len(work.begun_at) == 2
    await supervised.end()


@pytest.mark.looptime
async def test_whoever_asked_is_told_of_each_failure() -> None:
    told: list[Exception] = []
    supervised = Supervised(Work(RefusedError("WRONGPASS")), told.append)
    await asyncio.sleep(5)
    assert [type(error) for error in told] == [RefusedError]
    await supervised.end()


@pytest.mark.looptime
async def test_a_fault_of_ours_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(ZeroDivisionError("ours"))
    supervised = Supervised(work, ignore)
    await asyncio.sleep(5)
    problem = supervised.facts().problem
    assert problem
    assert problem.reason == Reason.INTERNAL_ERROR
    assert "ours" in caplog.text
    assert len(work.begun_at) == 2
    await supervised.end()


@pytest.mark.looptime
async def test_an_ended_work_runs_no_more() -> None:
    work = Work()
    supervised = Supervised(work, ignore)
    await asyncio.sleep(1)
    await supervised.end()
    assert supervised._task.cancelled()
