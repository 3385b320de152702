"""Bad weather: Redis away, slow or back again, and a database that is busy or gone."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from conftest import Api, StartApi, eventually
from servers import RedisServer, free_port


async def timed_get(api: Api, path: str) -> float:
    """How long one answer takes, in seconds."""
    started_at = time.monotonic()
    assert (await api.get(path))[0] == 200
    return time.monotonic() - started_at


async def test_everything_is_answered_while_redis_is_away(
    start_api: StartApi, redis_server: RedisServer
) -> None:
    api = await start_api()
    await api.get("/api/users/1")
    await redis_server.stop()
    for _ in range(10):
        assert (await api.get("/api/users/1"))[0] == 200
        assert (await api.get("/api/users/1/bookings"))[0] == 200
    status, written = await api.put("/api/users/1", {"name": "Without Redis"})
    assert status == 200
    assert (await api.get("/api/users/1"))[1]["revision"] == written["revision"]
    assert await api.readiness() == 200
    health = (await api.get("/health"))[1]
    assert (health["status"], health["cache_integrity"]) == ("degraded", "unknown")
    assert await api.metric("cache_lookups_total", result="error") == 21
    # Each failed operation once, and few of them: then the breaker opened.
    assert 5 <= await api.metric("cache_errors_total", kind="connection") <= 10


async def test_redis_that_comes_back_is_used_again(
    start_api: StartApi, redis_server: RedisServer
) -> None:
    api = await start_api()
    await redis_server.stop()
    for _ in range(6):
        await api.get("/api/users/2")
    await redis_server.start()

    async def is_hit() -> bool:
        before = await api.metric("cache_lookups_total", family="user", result="hit")
        await api.get("/api/users/2")
        return await api.metric("cache_lookups_total", family="user", result="hit") > before

    await eventually(is_hit, "a hit after Redis came back")


async def test_a_write_during_an_outage_is_not_undone_by_it(
    start_api: StartApi, redis_server: RedisServer, redis: Redis
) -> None:
    """The old value is still there when Redis answers again; it must not be served."""
    api = await start_api(redis_timeout_seconds=0.1)
    await api.get("/api/users/3")
    assert redis_server.process is not None
    redis_server.process.send_signal(19)  # SIGSTOP: it hangs, and keeps its data
    try:
        status, written = await api.put("/api/users/3", {"name": "During the outage"})
        assert status == 200
    finally:
        redis_server.process.send_signal(18)
    for _ in range(20):
        assert (await api.get("/api/users/3"))[1]["revision"] == written["revision"]

    async def is_settled() -> bool:
        return (await api.get("/health"))[1]["status"] == "ok"

    await eventually(is_settled, "the delete was made good")
    assert (await api.get("/api/users/3"))[1]["revision"] == written["revision"]


async def test_a_redis_that_hangs_costs_a_tenth_of_a_second_and_then_nothing(
    start_api: StartApi, redis_server: RedisServer
) -> None:
    api = await start_api(redis_timeout_seconds=0.1)
    await api.get("/api/services/1")
    assert redis_server.process is not None
    redis_server.process.send_signal(19)
    try:
        # The bounds are wide, for a busy machine; without a deadline the first would never end.
        assert max([await timed_get(api, "/api/users/4") for _ in range(5)]) < 3
        asked = await api.metric("cache_operations_total", family="user")
        for _ in range(30):
            await api.get("/api/users/4")
        assert await api.metric("cache_operations_total", family="user") - asked < 15
        assert await api.metric("cache_errors_total", kind="timeout") >= 5
    finally:
        redis_server.process.send_signal(18)


async def test_an_api_starts_without_redis(start_api: StartApi) -> None:
    api = await start_api(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    assert (await api.get("/api/users/5"))[0] == 200


async def test_no_database_is_503_and_the_cache_still_answers(start_api: StartApi) -> None:
    filler = await start_api()
    await filler.get("/api/users/6")
    nowhere = f"postgresql+asyncpg://x@127.0.0.1:{free_port()}/x"
    api = await start_api(database_url=nowhere, wait=False)
    assert (await api.get("/api/users/6"))[0] == 200
    assert (await api.get("/api/users/7"))[0] == 503
    assert await api.readiness() == 503
    status, health = await api.get("/health")
    assert (status, health["database"]) == (503, "down")


async def test_a_busy_pool_sheds_load_quickly(start_api: StartApi) -> None:
    api = await start_api(database_pool_size=1, database_pool_timeout_seconds=0.05)
    started_at = time.monotonic()
    answers = await asyncio.gather(*(api.get(f"/api/users/{n}") for n in range(1, 151)))
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 503}
    assert time.monotonic() - started_at < 10
    assert await api.metric("http_requests_total", status="503") == statuses.count(503)
    assert (await api.get("/api/users/1"))[0] == 200


async def test_health_tells_of_corrupt_values(start_api: StartApi, redis: Redis) -> None:
    api = await start_api()
    assert (await api.get("/health"))[1]["status"] == "ok"
    await redis.set("user:v1:8", b"{}")
    await api.get("/api/users/8")
    report = (await api.get("/health"))[1]
    assert (report["status"], report["cache_integrity"]) == ("degraded", "corrupt")
    assert report["corrupt_percent"] == pytest.approx(100)
