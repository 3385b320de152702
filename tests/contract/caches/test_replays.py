"""Replaying against a real server that fills its cache when asked, as a canary pod does."""

import asyncio
import json
from urllib.parse import unquote_to_bytes

import pytest
from aiohttp import web

from cacherollout.adapters.cache import RedisCaches, backends, replaying, supervision
from cacherollout.api.reasons import Reason
from cacherollout.cache import Connection
from cacherollout.core.actions import ReplayWork
from cacherollout.core.facts import CacheFacts, Problem

from .conftest import BOOKINGS, KEY, Answer, Serve, a_pod, a_spec, count, fill, is_done, until

SPEC = a_spec(BOOKINGS)


def a_work(*, coverage: float = 0.9, per_second: float = 5000.0) -> ReplayWork:
    return ReplayWork(("bookings",), "v1", "v2", coverage=coverage, per_second=per_second)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(supervision, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(replaying, "LOOK_SECONDS", 0.05)


class Canary:
    """Reads an id through its cache: stores a booking list under v2 and says what it was asked."""

    def __init__(self, client: Connection) -> None:
        self.client = client
        self.asked: list[bytes] = []
        self.running = self.most = 0
        self.fails = False
        self.seconds = 0.0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self.answer(request)
        finally:
            self.running -= 1

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.fails:
            return web.Response(status=503)
        parts = request.raw_path.split("/")
        assert (parts[1], parts[3]) == ("users", "bookings")
        identifier = unquote_to_bytes(parts[2])
        self.asked.append(identifier)
        await asyncio.sleep(self.seconds)
        key = b"booking:v2:list:" + identifier
        await self.client.call("SET", key, json.dumps([]), "EX", 300)
        return web.json_response([])


@pytest.fixture
def canary(client: Connection) -> Canary:
    return Canary(client)


async def test_the_hot_ids_are_asked_for_until_enough_is_covered(
    caches: RedisCaches, client: Connection, serve: Serve, canary: Canary
) -> None:
    await fill(client, "v1", 1000, stem="booking")
    work = a_work(coverage=0.5)
    await caches.run(KEY, SPEC, (work,), (a_pod("c1", await serve(canary.handle)),))
    facts = await until(caches, SPEC, is_done(work))
    (family,) = facts.works[0].families
    assert family.total == 1000
    assert family.coverage is not None
    assert 0.5 <= family.coverage < 1
    assert family.done == round(family.coverage * 1000)
    assert len(canary.asked) < 1000
    assert canary.most <= replaying.MAX_CONCURRENT


async def test_it_ends_when_the_hot_ids_are_used_up(
    caches: RedisCaches, client: Connection, serve: Serve, canary: Canary
) -> None:
    await fill(client, "v1", 100, stem="booking")
    await client.call("SET", "booking:v1:list:.", "[]", "EX", 300)
    await client.call("SET", "booking:v1:list:..", "[]", "EX", 300)
    await client.call("SET", b"booking:v1:list:a/b ?#%\xff", "[]", "EX", 300)
    work = a_work(coverage=1.0)
    await caches.run(KEY, SPEC, (work,), (a_pod("c1", await serve(canary.handle)),))
    await until(caches, SPEC, is_done(work))
    assert len(canary.asked) == 101
    assert b"a/b ?#%\xff" in canary.asked
    assert b"." not in canary.asked
    assert await count(client, "booking:v2:*") == 101


async def test_what_is_covered_already_is_not_asked_for_again(
    caches: RedisCaches, client: Connection, serve: Serve, canary: Canary
) -> None:
    await fill(client, "v1", 300, stem="booking")
    await fill(client, "v2", 300, stem="booking")
    work = a_work()
    await caches.run(KEY, SPEC, (work,), (a_pod("c1", await serve(canary.handle)),))
    await until(caches, SPEC, is_done(work))
    assert canary.asked == []


async def test_the_rate_holds_and_may_change_under_way(
    caches: RedisCaches, client: Connection, serve: Serve, canary: Canary
) -> None:
    await fill(client, "v1", 200, stem="booking")
    pods = (a_pod("c1", await serve(canary.handle)),)
    await caches.run(KEY, SPEC, (a_work(coverage=1.0, per_second=20),), pods)
    await until(caches, SPEC, lambda _: canary.asked)
    await asyncio.sleep(1)
    assert 10 <= len(canary.asked) <= 30
    await caches.run(KEY, SPEC, (a_work(coverage=1.0, per_second=5000),), pods)
    await until(caches, SPEC, is_done(a_work()), seconds=5)


async def test_a_slow_origin_is_not_asked_for_more_at_once_than_the_rate_means(
    caches: RedisCaches, client: Connection, serve: Serve, canary: Canary
) -> None:
    await fill(client, "v1", 12, stem="booking")
    canary.seconds = 0.3
    work = a_work(coverage=1.0, per_second=20)
    await caches.run(KEY, SPEC, (work,), (a_pod("c1", await serve(canary.handle)),))
    await until(caches, SPEC, is_done(work))
    assert len(canary.asked) == 12
    assert canary.most == 2


async def test_only_ready_canary_pods_of_the_new_version_are_asked(
    caches: RedisCaches, client: Connection, serve: Serve, canary: Canary
) -> None:
    await fill(client, "v1", 50, stem="booking")
    refused = Canary(client)
    wrong = await serve(refused.handle)
    pods = (
        a_pod("stable", wrong, is_canary=False, version="v1"),
        a_pod("other", wrong, version="v3"),
        a_pod("starting", wrong, are_containers_ready=False),
        a_pod("ending", wrong, is_terminating=True),
    )
    work = a_work()
    await caches.run(KEY, SPEC, (work,), pods)
    await asyncio.sleep(0.3)
    assert refused.asked == []
    second = Canary(client)
    port, other = await serve(canary.handle), await serve(second.handle)
    await caches.run(KEY, SPEC, (work,), (*pods, a_pod("c1", port), a_pod("c2", other)))
    await until(caches, SPEC, is_done(work))
    assert refused.asked == []
    assert canary.asked
    assert second.asked


async def redirecting(_: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("/elsewhere")


async def failing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=500)


async def forbidding(_: web.Request) -> web.StreamResponse:
    return web.Response(status=401)


@pytest.mark.parametrize(
    ("answer", "why"),
    [(redirecting, "status 307"), (failing, "status 500"), (forbidding, "status 401")],
)
async def test_a_canary_that_does_not_answer_is_a_problem_with_the_fix(
    caches: RedisCaches, client: Connection, serve: Serve, answer: Answer, why: str
) -> None:
    await fill(client, "v1", 200, stem="booking")
    await caches.run(KEY, SPEC, (a_work(),), (a_pod("c1", await serve(answer)),))
    facts = await until(caches, SPEC, problem_of)
    problem = problem_of(facts)
    assert problem
    assert problem.reason == Reason.CANARY_NOT_READY
    assert why in problem.message
    assert "replayPath of family bookings" in problem.message
    assert not facts.works[0].is_done


async def test_it_goes_on_by_itself_once_the_canary_answers(
    caches: RedisCaches, client: Connection, serve: Serve, canary: Canary
) -> None:
    await fill(client, "v1", 200, stem="booking")
    canary.fails = True
    work = a_work()
    await caches.run(KEY, SPEC, (work,), (a_pod("c1", await serve(canary.handle)),))
    await until(caches, SPEC, problem_of)
    canary.fails = False
    facts = await until(caches, SPEC, is_done(work))
    assert facts.works[0].problem is None


async def test_a_pod_without_a_port_is_a_problem(caches: RedisCaches, client: Connection) -> None:
    await fill(client, "v1", 200, stem="booking")
    await caches.run(KEY, SPEC, (a_work(),), (a_pod("c1", None),))
    facts = await until(caches, SPEC, problem_of)
    assert "no containerPort declared by pod c1" in str(problem_of(facts))


async def test_an_endless_answer_is_cut_short(
    caches: RedisCaches, client: Connection, serve: Serve, canary: Canary
) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        await canary.answer(request)
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b"x" * 10_000)
            sent += 10_000
            await asyncio.sleep(0)
        return response

    await fill(client, "v1", 3, stem="booking")
    work = a_work(coverage=1.0)
    await caches.run(KEY, SPEC, (work,), (a_pod("c1", await serve(endless)),))
    await until(caches, SPEC, is_done(work))
    assert len(canary.asked) == 3
    assert sent < 50_000_000


def problem_of(facts: CacheFacts) -> Problem | None:
    return facts.works[0].problem
