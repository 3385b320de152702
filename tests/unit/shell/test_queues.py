import asyncio
import random
from collections import Counter

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacherollout.api.names import Key
from cacherollout.shell.queues import BACKOFF_CAP_SECONDS, Outcome, Workers, WorkQueue

pytestmark = pytest.mark.looptime

A, B = Key("shop", "a"), Key("shop", "b")


async def test_a_key_added_twice_is_given_out_once() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert [await queue.get(), await queue.get()] == [A, B]
    assert len(queue) == 0


async def test_a_key_added_while_it_is_worked_is_given_out_again_only_afterwards() -> None:
    queue = WorkQueue()
    queue.add(A)
    await queue.get()
    queue.add(A)
    queue.add(B)
    assert await queue.get() == B
    queue.done(A)
    assert await queue.get() == A


async def test_of_several_delays_the_earliest_holds() -> None:
    queue, loop = WorkQueue(), asyncio.get_running_loop()
    began = loop.time()
    queue.add_after(A, 60)
    queue.add_after(A, 3)
    queue.add_after(A, 30)
    await queue.get()
    assert loop.time() - began == pytest.approx(3)
    queue.done(A)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100):
            await queue.get()


async def test_an_immediate_pass_takes_the_place_of_a_delayed_one() -> None:
    queue = WorkQueue()
    queue.add_after(A, 5)
    queue.add(A)
    assert await queue.get() == A
    queue.done(A)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100):
            await queue.get()


async def test_delays_of_a_failing_key_double_up_to_the_cap_and_start_over_after_success() -> None:
    queue = WorkQueue(rng=random.Random(1))  # noqa: S311 - repeatable jitter
    delays = []
    for _ in range(12):
        delays.append(queue.add_failed(A))
        assert await queue.get() == A
        queue.done(A)
    for number, delay in enumerate(delays):
        full = min(BACKOFF_CAP_SECONDS, 2.0**number)
        assert full / 2 <= delay <= full
    queue.succeeded(A)
    assert queue.add_failed(A) <= 1.0


async def test_a_hint_of_the_other_side_lengthens_the_delay() -> None:
    assert WorkQueue().add_failed(A, at_least_seconds=17) == 17


async def test_a_forgotten_key_is_not_given_out_any_more() -> None:
    queue = WorkQueue()
    queue.add_after(A, 5)
    queue.forget(A)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(100):
            await queue.get()


async def test_a_poison_key_stops_nobody() -> None:
    queue, good = WorkQueue(), Counter[Key]()

    async def reconcile(key: Key) -> Outcome:
        if key == A:
            raise RuntimeError("poison")
        good[key] += 1
        return Outcome("ok", 10.0)

    workers = asyncio.create_task(Workers(queue, reconcile, count=1).run())
    queue.add(A)
    queue.add(B)
    await asyncio.sleep(95)
    queue.close()
    await workers
    assert good[B] == 10


async def test_a_good_pass_forgets_the_bad_ones_before_it() -> None:
    queue, ended = WorkQueue(), []
    failing = [True] * 6 + [False, True, False]

    async def reconcile(key: Key) -> Outcome:
        ended.append(asyncio.get_running_loop().time())
        is_last = len(ended) == len(failing)
        return Outcome("x", None if is_last else 0.0, is_failure=failing[len(ended) - 1])

    workers = asyncio.create_task(Workers(queue, reconcile, count=1).run())
    queue.add(A)
    await asyncio.sleep(200)
    queue.close()
    await workers
    assert ended[6] - ended[5] >= 16
    assert ended[8] - ended[7] <= 1


async def test_a_pass_that_hangs_is_cut_off_and_tried_again() -> None:
    queue, begun = WorkQueue(), []

    async def reconcile(key: Key) -> Outcome:
        begun.append(asyncio.get_running_loop().time())
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    workers = asyncio.create_task(Workers(queue, reconcile, count=1, timeout_seconds=30).run())
    queue.add(A)
    await asyncio.sleep(40)
    queue.close()
    await workers
    assert len(begun) == 2
    assert 30.5 <= begun[1] - begun[0] <= 31


async def test_closing_lets_the_pass_under_way_end_and_begins_no_other() -> None:
    queue, ended = WorkQueue(), []

    async def reconcile(key: Key) -> Outcome:
        await asyncio.sleep(5)
        ended.append(key)
        return Outcome("ok", 0.0)

    workers = asyncio.create_task(Workers(queue, reconcile, count=2).run())
    queue.add(A)
    await asyncio.sleep(1)
    queue.close()
    queue.add(B)
    await workers
    assert ended == [A]


Step = st.tuples(
    st.sampled_from(["add", "add_after", "wait"]),
    st.integers(0, 4),
    st.floats(0, 3, allow_nan=False),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(Step, max_size=60), bad=st.sets(st.integers(0, 4)), seed=st.integers(0, 99))
def test_no_key_is_lost_and_none_is_worked_twice_at_once(
    steps: list[tuple[str, int, float]], bad: set[int], seed: int
) -> None:
    """Whatever is asked for: after the last request of a key a pass of it begins."""

    async def scenario() -> None:
        rng = random.Random(seed)  # noqa: S311 - repeatable jitter
        queue = WorkQueue(rng=rng)
        active: set[Key] = set()
        begun: dict[Key, float] = {}
        asked: dict[Key, float] = {}
        loop = asyncio.get_running_loop()

        async def reconcile(key: Key) -> Outcome:
            assert key not in active
            active.add(key)
            begun[key] = loop.time()
            await asyncio.sleep(rng.uniform(0, 2))
            active.discard(key)
            if int(key.name) in bad and rng.random() < 0.5:
                raise RuntimeError("now and then")
            return Outcome("ok")

        workers = asyncio.create_task(Workers(queue, reconcile, count=3).run())
        for what, number, seconds in steps:
            key = Key("shop", str(number))
            if what == "wait":
                await asyncio.sleep(seconds)
                continue
            delay = 0.0 if what == "add" else seconds
            queue.add_after(key, delay)
            asked[key] = loop.time()
        await asyncio.sleep(300)
        for key, moment in asked.items():
            assert begun[key] >= moment
        queue.close()
        await workers

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(scenario())
