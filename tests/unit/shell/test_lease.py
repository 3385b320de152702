import asyncio
from collections.abc import Coroutine
from copy import deepcopy
from typing import Any

import pytest

from cacherollout.api.reasons import Reason
from cacherollout.ports.errors import ConflictError, DependencyError
from cacherollout.shell.lease import DURATION_SECONDS, RENEW_SECONDS, Lease, end_when_lost

pytestmark = pytest.mark.looptime

EPOCH = 1_700_000_000.0


class FakeStore:
    """One Lease, with the API server's way of refusing stale writes."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.is_down = False
        self.is_silent = False

    async def read(self) -> dict[str, Any] | None:
        await self._answer()
        return deepcopy(self.lease)

    async def create(self, spec: dict[str, Any]) -> dict[str, Any]:
        await self._answer()
        if self.lease is not None:
            raise ConflictError("exists")
        return self._store(spec)

    async def replace(self, lease: dict[str, Any]) -> dict[str, Any]:
        await self._answer()
        if self.lease is None or lease["metadata"] != self.lease["metadata"]:
            raise ConflictError("modified")
        return self._store(lease["spec"])

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    def _store(self, spec: dict[str, Any]) -> dict[str, Any]:
        version = int(self.lease["metadata"]["resourceVersion"]) + 1 if self.lease else 1
        self.lease = {"metadata": {"resourceVersion": str(version)}, "spec": deepcopy(spec)}
        return deepcopy(self.lease)

    async def _answer(self) -> None:
        await asyncio.sleep(0.01)
        if self.is_silent:
            await asyncio.Event().wait()
        if self.is_down:
            raise DependencyError(Reason.API_UNAVAILABLE, "no answer")


class Replica:
    """A process that works while it holds the Lease."""

    def __init__(self, store: FakeStore, name: str) -> None:
        self.lease = Lease(store, name, lambda: EPOCH + asyncio.get_running_loop().time())
        self.leads_since: float | None = None
        self.ended_at: float | None = None
        self.why = ""

    async def live(self) -> None:
        await self.lease.acquire()
        self.leads_since = now()
        await end_when_lost(self.lease, self._end)

    def _end(self, reason: str) -> None:
        self.why, self.ended_at = reason, now()


def now() -> float:
    return asyncio.get_running_loop().time()


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_of_two_replicas_one_works_and_the_other_stands_by() -> None:
    store = FakeStore()
    one, two = Replica(store, "one"), Replica(store, "two")
    tasks = begin(one.live()), begin(two.live())
    await asyncio.sleep(120)
    assert [one.lease.may_act(), two.lease.may_act()].count(True) == 1
    assert [one.leads_since, two.leads_since].count(None) == 1
    await stop(*tasks)


async def test_a_dead_holder_is_followed_after_the_duration_and_not_before() -> None:
    store = FakeStore()
    one, two = Replica(store, "one"), Replica(store, "two")
    first = begin(one.live())
    await asyncio.sleep(5)
    second = begin(two.live())
    await asyncio.sleep(5)
    await stop(first)
    died = now()
    await asyncio.sleep(DURATION_SECONDS - 3)
    assert two.leads_since is None
    await asyncio.sleep(5)
    assert two.leads_since is not None
    assert two.leads_since - died <= DURATION_SECONDS + 1.5
    assert store.lease is not None
    assert store.lease["spec"]["leaseTransitions"] == 2
    await stop(second)


async def test_a_released_lease_is_taken_at_once() -> None:
    store = FakeStore()
    one, two = Replica(store, "one"), Replica(store, "two")
    first, second = begin(one.live()), None
    await asyncio.sleep(5)
    second = begin(two.live())
    await asyncio.sleep(5)
    await stop(first)
    await one.lease.release()
    assert store.holder == ""
    released = now()
    await asyncio.sleep(5)
    assert two.leads_since is not None
    assert two.leads_since - released < 2
    assert not one.lease.may_act()
    await stop(second)


async def test_a_process_in_the_same_pod_takes_its_own_lease_back_at_once() -> None:
    store = FakeStore()
    first = begin(Replica(store, "pod-a").live())
    await asyncio.sleep(5)
    await stop(first)
    again, began = Replica(store, "pod-a"), now()
    second = begin(again.live())
    await asyncio.sleep(1)
    assert again.leads_since is not None
    assert again.leads_since - began < 1
    assert store.lease is not None
    assert store.lease["spec"]["leaseTransitions"] == 1
    await stop(second)


@pytest.mark.parametrize("how", ["is_down", "is_silent"])
async def test_a_holder_that_cannot_renew_ends_before_another_may_begin(how: str) -> None:
    store = FakeStore()
    one = Replica(store, "one")
    task = begin(one.live())
    await asyncio.sleep(20)
    setattr(store, how, True)
    cut = now()
    await asyncio.sleep(DURATION_SECONDS)
    assert one.ended_at is not None
    assert one.ended_at - cut <= RENEW_SECONDS
    assert one.why == "it could not be renewed for 10 s"
    assert not one.lease.may_act()
    await stop(task)


async def test_a_short_outage_ends_nobody() -> None:
    store = FakeStore()
    one = Replica(store, "one")
    task = begin(one.live())
    await asyncio.sleep(20)
    store.is_down = True
    await asyncio.sleep(5)
    assert one.lease.may_act()
    store.is_down = False
    await asyncio.sleep(60)
    assert one.ended_at is None
    assert one.lease.may_act()
    await stop(task)


async def test_a_holder_that_was_overtaken_ends_with_its_next_renewal() -> None:
    store = FakeStore()
    one = Replica(store, "one")
    task = begin(one.live())
    await asyncio.sleep(5)
    assert store.lease is not None
    await store.replace({**store.lease, "spec": {**store.lease["spec"], "holderIdentity": "two"}})
    await asyncio.sleep(3)
    assert one.why == "another replica holds it"
    assert store.holder == "two"
    await stop(task)


async def test_an_edit_by_somebody_else_does_not_cost_the_lease() -> None:
    store = FakeStore()
    one = Replica(store, "one")
    task = begin(one.live())
    await asyncio.sleep(5)
    assert store.lease is not None
    await store.replace({**store.lease, "spec": {**store.lease["spec"], "note": "labeled"}})
    await asyncio.sleep(30)
    assert one.ended_at is None
    assert one.lease.may_act()
    await stop(task)


async def test_may_act_goes_by_time_even_where_the_keeper_did_not_run() -> None:
    """As after a loop that was blocked: what is checked before a write is the clock."""
    store = FakeStore()
    one = Replica(store, "one")
    await one.lease.acquire()
    assert one.lease.may_act()
    await asyncio.sleep(RENEW_SECONDS)
    assert not one.lease.may_act()


async def test_a_candidate_waits_an_outage_out() -> None:
    store = FakeStore()
    store.is_down = True
    one = Replica(store, "one")
    task = begin(one.live())
    await asyncio.sleep(300)
    assert one.leads_since is None
    store.is_down = False
    await asyncio.sleep(2)
    assert one.leads_since is not None
    await stop(task)


async def test_of_many_contenders_never_two_may_act() -> None:
    store = FakeStore()
    replicas = [Replica(store, f"r{number}") for number in range(5)]
    tasks = [begin(each.live()) for each in replicas]
    for second in range(300):
        await asyncio.sleep(1)
        assert sum(each.lease.may_act() for each in replicas) <= 1
        if second % 60 == 30:
            leader = next(i for i, each in enumerate(replicas) if each.lease.may_act())
            await stop(tasks[leader])
    await stop(*tasks)
