"""Each release does what its name says, and no more: users always get right answers or an error."""

import pytest
from redis.asyncio import Redis

from conftest import Api, StartApi

USERS = 60


async def read_users(api: Api, *, times: int = 2) -> list[tuple[int, dict]]:
    return [await api.get(f"/api/users/{n}") for _ in range(times) for n in range(1, USERS + 1)]


async def test_v3_does_not_read_what_v2_wrote_and_reads_services(start_api: StartApi) -> None:
    """In one namespace on purpose: that is what a forgotten version bump does."""
    v2, v3 = await start_api(release="v2"), await start_api(release="v3")
    for path in ("/api/users/1", "/api/services/1", "/api/users/1/bookings"):
        await v2.get(path)
        assert (await v3.get(path))[0] == 200
    assert await v3.metric("cache_lookups_total", family="user", result="corrupt") == 1
    assert await v3.metric("cache_lookups_total", family="service", result="hit") == 1
    assert await v3.metric("cache_lookups_total", family="bookings", result="hit") == 1
    user = (await v3.get("/api/users/1"))[1]
    assert "name" not in user
    assert {"full_name", "tier"} < user.keys()


@pytest.mark.parametrize("release", ["v2", "v3"])
async def test_a_sound_release_has_no_cache_errors(start_api: StartApi, release: str) -> None:
    api = await start_api(release=release)
    assert {status for status, _ in await read_users(api)} == {200}
    assert await api.metric("cache_errors_total") == 0
    assert await api.metric("cache_lookups_total", result="hit") == USERS


@pytest.mark.parametrize(
    ("release", "kind"), [("v4-undecodable", "decode"), ("v4-wrong-field", "validation")]
)
async def test_one_stored_user_in_five_is_bad_and_no_answer_is(
    start_api: StartApi, redis: Redis, release: str, kind: str
) -> None:
    api = await start_api(release=release)
    answers = await read_users(api)
    assert all(status == 200 and body["role"] for status, body in answers)
    assert await api.metric("cache_lookups_total", result="corrupt") == USERS / 5
    assert await api.metric("cache_errors_total", kind=kind) == USERS / 5
    assert await api.metric("cache_errors_total") == USERS / 5
    values = [await redis.get(f"user:v1:{n}") for n in range(1, USERS + 1)]
    assert sum(b'"role"' not in v or not v.endswith(b"}") for v in values) == USERS / 5


async def test_v4_errors_fails_some_requests_only(start_api: StartApi) -> None:
    api = await start_api(release="v4-errors")
    statuses = [status for status, _ in await read_users(api, times=10)]
    assert set(statuses) == {200, 500}
    assert 0.01 < statuses.count(500) / len(statuses) < 0.12
    counted = await api.metric("http_requests_total", status="500")
    assert counted == statuses.count(500)
    assert await api.metric("cache_errors_total") == 0


async def test_v4_slow_is_slow_in_the_cache_and_right(start_api: StartApi) -> None:
    api = await start_api(release="v4-slow")
    assert {status for status, _ in await read_users(api, times=1)} == {200}
    name = "cache_operation_duration_seconds_bucket"
    slow = USERS - await api.metric(name, operation="get", le="0.05")
    assert 0.1 < slow / USERS < 0.6
    assert await api.metric("cache_errors_total") == 0


async def test_v4_never_ready_lives_and_is_never_ready(start_api: StartApi) -> None:
    api = await start_api(release="v4-never-ready", wait=False)
    assert (await api.get("/api/users/1"))[0] == 200
    assert await api.readiness() == 503
    async with api.session.get(api.base + "/livez") as response:
        assert response.status == 200
