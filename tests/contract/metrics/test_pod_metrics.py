"""Scrapes against real servers on loopback: what any pod may do to us, and what is made of it."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from cacherollout.adapters.metrics import pods as module
from cacherollout.adapters.metrics.pods import PodMetrics
from cacherollout.api.names import Key
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.facts import PodFacts

KEY = Key("shop", "api")
PAGE = """\
cache_lookups_total{version="v3",family="user",result="hit"} 80
cache_lookups_total{version="v2",family="user",result="miss"} 10
http_requests_total{version="v3",method="GET",route="/",status="200"} 5
"""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Answer], Awaitable[int]]


def text(page: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=page)

    return answer


def a_spec(**metrics: object) -> CacheRolloutSpec:
    return CacheRolloutSpec.model_validate(
        {
            "targetRef": {"name": "api"},
            "cache": {
                "backendRef": {"name": "main"},
                "families": [{"name": "user", "key": "user:{version}:{id}"}],
            },
            "metrics": metrics,
        }
    )


def a_pod(name: str, port: int | None, **facts: object) -> PodFacts:
    given = {
        "name": name,
        "uid": f"uid-{name}",
        "ip": "127.0.0.1",
        "is_canary": True,
        "revision": "r1",
        "version": "v3",
        "is_ready": False,
        "are_containers_ready": True,
        "is_admitted": False,
        "metrics_port": port,
    }
    return PodFacts(**{**given, **facts})


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners = []

    async def start(answer: Answer) -> int:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner.addresses[0][1]

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def metrics(clock: Clock) -> AsyncIterator[PodMetrics]:
    metrics = PodMetrics(clock)
    yield metrics
    await metrics.close()


async def test_every_pod_is_measured_under_the_time_of_the_scrape(
    metrics: PodMetrics, serve: Serve, clock: Clock
) -> None:
    port = await serve(text(PAGE))
    other = await serve(text(PAGE.replace("80", "90")))
    measured = await metrics.measure(KEY, a_spec(), (a_pod("b", other), a_pod("a", port)))
    assert measured.at == clock.now
    assert measured.problem is None
    assert {one.uid: one.counters.lookups for one in measured.pods} == {"uid-a": 90, "uid-b": 100}
    assert {one.foreign_lookups for one in measured.pods} == {10}


async def test_between_two_intervals_the_same_measurement_is_given_again(
    metrics: PodMetrics, serve: Serve, clock: Clock
) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text=PAGE)

    pods = (a_pod("a", await serve(answer)),)
    spec = a_spec(interval="5s", path="/internal/metrics")
    first = await metrics.measure(KEY, spec, pods)
    clock.now += 4.5
    assert await metrics.measure(KEY, spec, pods) is first
    assert asked == ["/internal/metrics"]
    clock.now += 0.5
    second = await metrics.measure(KEY, spec, pods)
    assert second.at == first.at + 5
    assert len(asked) == 2


async def test_rollouts_are_measured_apart_and_forgotten(
    metrics: PodMetrics, serve: Serve, clock: Clock
) -> None:
    pods = (a_pod("a", await serve(text(PAGE))),)
    first = await metrics.measure(KEY, a_spec(), pods)
    clock.now += 1
    other = await metrics.measure(Key("shop", "other"), a_spec(), pods)
    assert other.at == first.at + 1
    metrics.forget(KEY)
    assert (await metrics.measure(KEY, a_spec(), pods)).at == clock.now


async def test_a_clock_that_was_set_back_does_not_stop_the_measurements(
    metrics: PodMetrics, serve: Serve, clock: Clock
) -> None:
    pods = (a_pod("a", await serve(text(PAGE))),)
    await metrics.measure(KEY, a_spec(), pods)
    clock.now -= 3600
    assert (await metrics.measure(KEY, a_spec(), pods)).at == clock.now


async def test_a_second_caller_during_the_scrape_asks_no_pod(
    metrics: PodMetrics, serve: Serve
) -> None:
    asked = []
    arrived, answering = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        asked.append(1)
        arrived.set()
        await answering.wait()
        return web.Response(text=PAGE)

    pods = (a_pod("a", await serve(answer)),)
    first = asyncio.create_task(metrics.measure(KEY, a_spec(), pods))
    await arrived.wait()
    assert await metrics.measure(KEY, a_spec(), pods) is None
    answering.set()
    assert (await first).pods
    assert len(asked) == 1


async def test_a_rollout_forgotten_during_its_scrape_stays_forgotten(
    metrics: PodMetrics, serve: Serve, clock: Clock
) -> None:
    async def answer(_: web.Request) -> web.Response:
        metrics.forget(KEY)
        return web.Response(text=PAGE)

    pods = (a_pod("a", await serve(answer)),)
    await metrics.measure(KEY, a_spec(), pods)
    assert metrics._newest == {}
    assert metrics._begun_at == {}


async def test_pods_that_cannot_answer_are_not_asked(metrics: PodMetrics) -> None:
    pods = (
        a_pod("no-address", 1, ip=""),
        a_pod("starting", 1, are_containers_ready=False),
        a_pod("ending", 1, is_terminating=True),
    )
    measured = await metrics.measure(KEY, a_spec(), pods)
    assert measured.pods == ()
    assert measured.problem is None


async def test_a_port_in_the_spec_wins_over_the_declared_one(
    metrics: PodMetrics, serve: Serve
) -> None:
    port = await serve(text(PAGE))
    measured = await metrics.measure(KEY, a_spec(port=port), (a_pod("a", 1),))
    assert len(measured.pods) == 1


async def test_a_version_that_the_pod_does_not_state_is_the_initial_one(
    metrics: PodMetrics, serve: Serve
) -> None:
    page = PAGE.replace('"v3"', '"v1"').replace('"v2"', '"v1"')
    measured = await metrics.measure(
        KEY, a_spec(), (a_pod("a", await serve(text(page)), version=""),)
    )
    assert measured.pods[0].foreign_lookups == 0


async def redirecting(request: web.Request) -> web.Response:
    raise web.HTTPFound(f"http://127.0.0.1:{request.url.port}/elsewhere")


async def failing(_: web.Request) -> web.Response:
    return web.Response(status=500, text=PAGE)


async def huge(_: web.Request) -> web.Response:
    return web.Response(text="# padding\n" * 200_000)


async def compressed(_: web.Request) -> web.Response:
    body = gzip.compress(b"#" * 10_000_000)
    return web.Response(body=body, headers={"Content-Encoding": "gzip"})


async def html(_: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


async def binary(_: web.Request) -> web.Response:
    return web.Response(body=b"\xff\xfe\n", content_type="text/plain")


async def truncated(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "5000", "Content-Type": "text/plain"})
    await response.prepare(request)
    await response.write(PAGE.encode())
    request.transport.abort()
    return response


async def garbage(request: web.Request) -> web.StreamResponse:
    request.transport.write(b"\x00\x01nonsense\r\n\r\n")
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (redirecting, "answered with status 302"),
        (failing, "answered with status 500"),
        (huge, "larger than 1048576 bytes"),
        (compressed, "is compressed"),
        (html, "'text/html', not a page of metrics"),
        (binary, "not UTF-8"),
        (truncated, "failed with"),
        (garbage, "failed with"),
        (text("go_goroutines 7\n"), "the page has none of"),
        (text("cache_lookups_total NaN\n"), "impossible value"),
        (text("cache_lookups_total{" + "x" * 400_000 + "} 1\n"), "malformed labels"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_pod_that_lies_or_fails_is_left_out_with_the_reason(
    metrics: PodMetrics, serve: Serve, answer: Answer, why: str
) -> None:
    good, bad = await serve(text(PAGE)), await serve(answer)
    measured = await metrics.measure(KEY, a_spec(), (a_pod("bad", bad), a_pod("good", good)))
    assert [one.uid for one in measured.pods] == ["uid-good"]
    assert measured.problem.reason == Reason.METRICS_UNAVAILABLE
    assert measured.problem.message.startswith("1 of 2 pods gave no counters, such as bad: ")
    assert why in measured.problem.message
    assert len(measured.problem.message) < 512


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"metrics_port": None}, "declares no port; set metrics.port"),
        ({"ip": "metadata.internal"}, "is not an IP address"),
        ({"metrics_port": 1}, "check metrics.port and metrics.path"),
    ],
)
async def test_a_pod_that_cannot_be_asked_is_named_with_the_fix(
    metrics: PodMetrics, facts: dict[str, Any], why: str
) -> None:
    measured = await metrics.measure(KEY, a_spec(), (a_pod("a", 1, **facts),))
    assert measured.pods == ()
    assert why in measured.problem.message


async def test_a_slow_pod_costs_two_seconds_and_no_other_pod(
    metrics: PodMetrics, serve: Serve
) -> None:
    never = asyncio.Event()

    async def dripping(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        while not never.is_set():
            await response.write(b"# one more line\n")
            await asyncio.sleep(0.05)
        return response

    slow, good = await serve(dripping), await serve(text(PAGE))
    begun_at = time.monotonic()
    measured = await metrics.measure(KEY, a_spec(), (a_pod("good", good), a_pod("slow", slow)))
    assert time.monotonic() - begun_at < module.POD_SECONDS + 1
    assert [one.uid for one in measured.pods] == ["uid-good"]
    assert "took longer than 2 s" in measured.problem.message


async def test_many_dead_pods_cannot_hold_up_the_pass(
    metrics: PodMetrics, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.3)
    running, most = 0, 0

    async def hanging(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.Event().wait()
        return web.Response()

    ports = [await serve(hanging) for _ in range(25)]
    pods = tuple(a_pod(f"p{at}", port) for at, port in enumerate(ports))
    begun_at = time.monotonic()
    measured = await metrics.measure(KEY, a_spec(), pods)
    assert time.monotonic() - begun_at < 2
    assert most == module.MAX_CONCURRENT
    assert "25 of 25 pods" in measured.problem.message


async def test_a_page_of_the_largest_size_does_not_block_the_event_loop(
    metrics: PodMetrics, serve: Serve
) -> None:
    line = 'http_requests_total{{version="v3",method="GET",route="/a/{}",status="200"}} 1\n'
    page = "".join(line.format(at) for at in range(12_000))
    assert 900_000 < len(page) < module.MAX_BODY_BYTES
    pods = (a_pod("a", await serve(text(page))),)
    longest = 0.0
    measuring = asyncio.create_task(metrics.measure(KEY, a_spec(), pods))
    while not measuring.done():
        # The time of this thread alone: a busy machine is not our doing.
        begun_at = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - begun_at)
    assert (await measuring).pods[0].counters.requests == 12_000
    assert longest < 0.05
