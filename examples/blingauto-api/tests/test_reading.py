"""Reading through the cache and writing past it, on a real Redis and a real PostgreSQL."""

import asyncio
import json

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from blingauto.database import Database
from blingauto.seed import SeedSize, seed_database
from conftest import Api, StartApi, eventually
from servers import PostgresServer

VERSIONS_KEY = "blingauto:versions"
STARTS_AT = "2030-01-01T09:00:00+00:00"


async def lookups(api: Api, family: str = "user") -> dict[str, float]:
    return {
        result: await api.metric("cache_lookups_total", family=family, result=result)
        for result in ("hit", "miss", "corrupt", "error")
    }


@pytest.mark.parametrize(
    ("path", "key", "family"),
    [
        ("/api/users/7", "user:v1:7", "user"),
        ("/api/services/7", "service:v1:7", "service"),
        ("/api/users/7/bookings", "booking:v1:list:7", "bookings"),
    ],
)
async def test_the_first_read_fills_and_the_second_hits(
    start_api: StartApi, redis: Redis, path: str, key: str, family: str
) -> None:
    api = await start_api()
    first = await api.get(path)
    second = await api.get(path)
    assert first == second
    assert first[0] == 200
    assert json.loads(await redis.get(key)) == first[1]
    assert await lookups(api, family) == {"hit": 1, "miss": 1, "corrupt": 0, "error": 0}
    assert await api.metric("origin_queries_total", family=family) == 1
    assert await api.metric("cache_operations_total", family=family, operation="get") in (1, 2)
    assert await api.metric("cache_operations_total", family=family, operation="set") == 1


async def test_services_are_kept_in_memory_and_users_are_not(start_api: StartApi) -> None:
    api = await start_api()
    for _ in range(3):
        await api.get("/api/services/7")
        await api.get("/api/users/7")
    assert await api.metric("cache_l1_hits_total", family="service") == 2
    assert await api.metric("cache_l1_hits_total", family="user") == 0
    assert await api.metric("cache_operations_total", family="user", operation="get") == 3


async def test_ttls_are_spread_around_the_configured_one(start_api: StartApi, redis: Redis) -> None:
    api = await start_api(cache_ttl_seconds=100.0, cache_ttl_jitter_percent=50.0)
    for user_id in range(1, 41):
        await api.get(f"/api/users/{user_id}")
    ttls = [await redis.pttl(f"user:v1:{user_id}") / 1_000 for user_id in range(1, 41)]
    assert all(45 < ttl <= 150 for ttl in ttls)
    assert max(ttls) - min(ttls) > 30


async def test_what_does_not_exist_is_404_and_not_cached(start_api: StartApi, redis: Redis) -> None:
    api = await start_api()
    assert (await api.get("/api/users/999999"))[0] == 404
    assert (await api.get("/api/services/999999"))[0] == 404
    assert (await api.get("/api/users/999999/bookings"))[0] == 404
    assert (await api.put("/api/users/999999", {"name": "x"}))[0] == 404
    new = {"user_id": 1, "service_id": 999_999, "starts_at": STARTS_AT}
    assert (await api.post("/api/bookings", new))[0] == 404
    assert (await api.get("/api/users/0"))[0] == 422
    assert await redis.keys() == []


async def test_a_change_shows_at_once_through_every_replica(start_api: StartApi) -> None:
    one, other = await start_api(), await start_api()
    before = (await one.get("/api/users/9"))[1]
    await other.get("/api/users/9/bookings")
    status, written = await one.put("/api/users/9", {"name": "New Name"})
    assert status == 200
    assert written["revision"] > before["revision"]
    for api in (one, other):
        user = (await api.get("/api/users/9"))[1]
        assert (user["name"], user["revision"]) == ("New Name", written["revision"])
        assert (await api.get("/api/users/9/bookings"))[1]["revision"] == written["revision"]


async def test_a_booking_empties_the_list_and_the_user(start_api: StartApi, redis: Redis) -> None:
    api = await start_api()
    before = (await api.get("/api/users/11"))[1]
    await api.get("/api/users/11/bookings")
    new = {"user_id": 11, "service_id": 3, "starts_at": STARTS_AT}
    status, written = await api.post("/api/bookings", new)
    assert status == 201
    assert await redis.exists("user:v1:11", "booking:v1:list:11") == 0
    items = (await api.get("/api/users/11/bookings"))[1]["items"]
    assert items[0]["id"] == written["booking_id"]
    assert (await api.get("/api/users/11"))[1]["bookings_count"] == before["bookings_count"] + 1


@pytest.mark.parametrize(("writer", "other"), [("v1", "v2"), ("v2", "v1")])
async def test_a_write_reaches_a_version_under_which_it_has_nothing_cached_itself(
    start_api: StartApi, redis: Redis, writer: str, other: str
) -> None:
    """What no mirror can carry over: Redis tells nobody of a delete of a key that is not there."""
    await redis.set(VERSIONS_KEY, "v1,v2")
    apis = {
        version: await start_api(cache_version=version, cache_versions_key=VERSIONS_KEY)
        for version in (writer, other)
    }
    before = (await apis[other].get("/api/users/13"))[1]
    assert await redis.exists(f"user:{other}:13", f"user:{writer}:13") == 1
    status, written = await apis[writer].put("/api/users/13", {"city": "city-1"})
    assert status == 200
    assert await redis.exists(f"user:{other}:13") == 0
    after = (await apis[other].get("/api/users/13"))[1]
    assert before["revision"] < after["revision"] == written["revision"]


async def test_a_write_deletes_the_other_versions_too(start_api: StartApi, redis: Redis) -> None:
    await redis.set(VERSIONS_KEY, "v1,v2")
    v1 = await start_api()
    v2 = await start_api(cache_version="v2", cache_versions_key=VERSIONS_KEY)
    for api in (v1, v2):
        await api.get("/api/users/13")
    assert await redis.exists("user:v1:13", "user:v2:13") == 2
    deletes = await redis.info("commandstats")
    calls_before = deletes.get("cmdstat_del", {"calls": 0})["calls"]
    await v2.put("/api/users/13", {"city": "city-1"})
    assert await redis.exists("user:v1:13", "user:v2:13") == 0
    calls = (await redis.info("commandstats"))["cmdstat_del"]["calls"]
    assert calls - calls_before == 2  # one a family, whatever the number of versions


async def test_a_late_fill_with_an_old_value_does_not_survive(
    start_api: StartApi, redis: Redis
) -> None:
    """Another replica read before the commit and fills after the delete."""
    api = await start_api(cache_second_delete_seconds=0.2)
    await api.get("/api/users/15")
    old = await redis.get("user:v1:15")
    await api.put("/api/users/15", {"name": "Newer"})
    await redis.set("user:v1:15", old, px=60_000)

    async def is_gone() -> bool:
        return await redis.get("user:v1:15") != old

    await eventually(is_gone, "the second delete")


async def test_a_stampede_asks_the_origin_once(start_api: StartApi) -> None:
    api = await start_api()
    answers = await asyncio.gather(*(api.get("/api/users/17") for _ in range(50)))
    assert {status for status, _ in answers} == {200}
    assert await api.metric("origin_queries_total", family="user") == 1
    found = await lookups(api)
    assert found["hit"] + found["miss"] == 50


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        pytest.param(b"not json", "decode", id="undecodable"),
        pytest.param(b'{"id": 19}', "validation", id="fields missing"),
    ],
)
async def test_a_corrupt_value_is_removed_counted_and_answered_from_the_origin(
    start_api: StartApi, redis: Redis, spoil: bytes, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    api = await start_api()
    expected = await api.get("/api/users/19")
    await redis.set("user:v1:19", spoil, px=60_000)
    assert await api.get("/api/users/19") == expected
    assert json.loads(await redis.get("user:v1:19")) == expected[1]
    assert await lookups(api) == {"hit": 0, "miss": 1, "corrupt": 1, "error": 0}
    assert await api.metric("cache_errors_total", family="user", kind=kind) == 1
    assert await api.metric("cache_errors_total") == 1
    assert "user:v1:19" in caplog.text


async def test_a_corrupt_value_goes_even_if_nothing_replaces_it(
    start_api: StartApi, redis: Redis
) -> None:
    api = await start_api()
    await redis.set("user:v1:999999", b"{}", px=60_000)
    assert (await api.get("/api/users/999999"))[0] == 404
    assert await redis.exists("user:v1:999999") == 0


async def test_a_key_of_another_type_is_corrupt_too(start_api: StartApi, redis: Redis) -> None:
    api = await start_api()
    await redis.rpush("user:v1:21", "x")
    assert (await api.get("/api/users/21"))[0] == 200
    assert (await lookups(api))["corrupt"] == 1
    assert await redis.type("user:v1:21") == b"string"


async def test_answers_say_who_gave_them(start_api: StartApi) -> None:
    api = await start_api(release="v3", cache_version="v9", pod="pod-a")
    for path in ("/api/users/1", "/api/users/999999", "/nowhere"):
        async with api.session.get(api.base + path) as response:
            headers = response.headers
        assert (headers["X-Release"], headers["X-Cache-Version"], headers["X-Pod"]) == (
            *("v3", "v9", "pod-a"),
        )
    assert await api.metric("http_requests_total", route="/api/users/{user_id}", status="200") == 1
    assert await api.metric("http_requests_total", route="unmatched", status="404") == 1
    assert await api.metric("http_requests_total", route="/metrics") == 0
    assert await api.metric("http_requests_total", route="/readyz") == 0


async def test_many_replicas_starting_together_seed_once(postgres: PostgresServer) -> None:
    url = await postgres.create_database("together")
    databases = [
        Database(url, pool_size=1, pool_timeout_seconds=20, statement_timeout_seconds=20)
        for _ in range(3)
    ]
    size = SeedSize(users=100, services=10, bookings=500)
    assert sorted(await asyncio.gather(*(seed_database(one, size) for one in databases))) == [
        *(False, False, True),
    ]
    async with databases[0].read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM bookings")) == 500
    for one in databases:
        await one.close()


async def test_a_warm_up_fills_before_ready(start_api: StartApi, redis: Redis) -> None:
    await start_api(cache_warm_users=10)
    assert len(await redis.keys("user:v1:*")) == 10
    assert len(await redis.keys("booking:v1:list:*")) == 10
