import asyncio

import pytest
from aiohttp import ClientSession

from cacherollout.api.ledger import Attempt, Evidence, Ledger, Release
from cacherollout.api.names import Key
from cacherollout.api.reasons import Phase
from cacherollout.shell.server import Health, application, measure_lag, serve
from cacherollout.shell.telemetry import Metrics


async def get(health: Health, metrics: Metrics, path: str, rollouts: int = 0) -> tuple[int, str]:
    pages = application(health, metrics.registry, lambda: rollouts)
    runner = await serve(pages, "127.0.0.1", 0)
    try:
        host, port = runner.addresses[0][:2]
        async with ClientSession() as session, session.get(f"http://{host}:{port}{path}") as answer:
            return answer.status, await answer.text()
    finally:
        await runner.cleanup()


async def test_a_replica_is_ready_once_the_api_server_answered_leading_or_not() -> None:
    health = Health()
    assert (await get(health, Metrics(), "/readyz"))[0] == 503
    health.is_started = True
    assert await get(health, Metrics(), "/readyz") == (200, "ok")


async def test_a_replica_without_rollouts_is_live() -> None:
    assert await get(Health(), Metrics(), "/healthz") == (200, "ok")


async def test_rollouts_that_nobody_looks_at_fail_the_liveness() -> None:
    health = Health(looked_at=asyncio.get_running_loop().time() - 200)
    assert await get(health, Metrics(), "/healthz", rollouts=3) == (
        503,
        "no rollout of 3 was read for 200 s",
    )
    health.looked()
    assert await get(health, Metrics(), "/healthz", rollouts=3) == (200, "ok")


async def test_a_loop_that_hangs_fails_the_liveness() -> None:
    status, text = await get(Health(lag_seconds=6.0), Metrics(), "/healthz")
    assert (status, text) == (503, "the event loop was 6.0 s late")


@pytest.mark.looptime
async def test_the_lag_of_the_loop_is_measured() -> None:
    health, metrics = Health(lag_seconds=9.0), Metrics()
    task = asyncio.create_task(measure_lag(health, metrics.loop_lag))
    await asyncio.sleep(1.5)
    task.cancel()
    assert health.lag_seconds < 0.1


ATTEMPT = Attempt(
    1,
    Release("rev", "v3"),
    started_at=0.0,
    evidence=(Evidence("cacheErrorRate", canary_specific=2.5, bad=1, total=4),),
)


async def test_metrics_show_a_rollout_and_forget_it() -> None:
    metrics, key = Metrics(), Key("shop", "api")
    metrics.passed("ok", 0.01)
    metrics.show(key, Phase.WARMING, Ledger(), now=5.0)
    metrics.show(key, Phase.ANALYZING, Ledger(attempt=ATTEMPT), now=6.0)
    _, page = await get(Health(), metrics, "/metrics")
    assert 'cacherollout_reconcile_total{result="ok"} 1.0' in page
    where = 'namespace="shop",phase="Analyzing",rollout="api"'
    assert f"cacherollout_rollout_phase{{{where}}} 1.0" in page
    assert "Warming" not in page
    assert 'gate="cacheErrorRate"' in page
    assert "_created" not in page
    metrics.forget(key)
    _, page = await get(Health(), metrics, "/metrics")
    assert 'rollout="api"' not in page
