"""What a user may not do, as a real server has it, and that asking touches nothing."""

import re

import pytest

from cacherollout.cache import (
    Connection,
    Endpoint,
    Family,
    RefusedError,
    Standalone,
    Survey,
    missing_rights,
    missing_rights_to_name,
)
from tests.contract.cache.conftest import RedisProcess, dump

DOCUMENTED = (
    "+@read +@write +@keyspace +@connection +@transaction +@scripting -@admin -@dangerous "
    "+info +restore +config|get +memory|usage"
)


async def as_user(client: Connection, redis: RedisProcess, rules: str) -> Standalone:
    """The server as a user with these rules sees it."""
    selectors = re.findall(r"\(.*?\)|\S+", rules)
    await client.call("ACL", "SETUSER", "probe", "reset", "on", ">secret", *selectors)
    return Standalone(Endpoint("127.0.0.1", redis.port, username="probe", password="secret"))


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        pytest.param(f"~user:* ~booking:* {DOCUMENTED}", (), id="as documented"),
        pytest.param(
            f"~user:* {DOCUMENTED}", ("any access to booking:*",), id="a prefix is not granted"
        ),
        pytest.param(
            f"~user:* ~booking:* {DOCUMENTED} -copy",
            ("COPY on user:*", "COPY on booking:*"),
            id="a command is not granted",
        ),
        pytest.param(
            f"~user:* ~booking:* {DOCUMENTED} -info -client|tracking",
            ("INFO", "CLIENT TRACKING"),
            id="commands without a key are not granted",
        ),
    ],
)
async def test_missing_rights_are_named(
    client: Connection,
    shared_redis: RedisProcess,
    users: Family,
    bookings: Family,
    rules: str,
    missing: tuple[str, ...],
) -> None:
    await client.pipeline([("SET", "user:v2:1", "{}"), ("SET", "booking:v2:list:1", "[]")])
    before = await dump(client)
    server = await as_user(client, shared_redis, rules)
    assert await missing_rights(server, [users, bookings], version="v2") == missing
    assert await dump(client) == before


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        pytest.param(f"{DOCUMENTED} (~app:versions +get +set)", (), id="as documented"),
        pytest.param(f"{DOCUMENTED} ~app:versions", (), id="as documented before Redis 7"),
        pytest.param(f"{DOCUMENTED} ~app:*", (), id="a whole prefix"),
        pytest.param(f"{DOCUMENTED} ~user:*", ("GET", "SET"), id="the key is not granted"),
        pytest.param(f"{DOCUMENTED} %R~app:versions", ("SET",), id="it may only be read"),
        pytest.param("+get +set +@connection (~other +@all)", ("GET", "SET"), id="another key"),
    ],
)
@pytest.mark.parametrize("before", [None, b"v1,v2"])
async def test_missing_rights_to_the_versions_key_are_named_and_nothing_is_written(
    client: Connection,
    shared_redis: RedisProcess,
    rules: str,
    missing: tuple[str, ...],
    before: bytes | None,
) -> None:
    if before is not None:
        await client.call("SET", "app:versions", before)
    server = await as_user(client, shared_redis, f"{rules}")
    assert await missing_rights_to_name(server, "app:versions") == missing
    assert await client.call("GET", "app:versions") == before


async def test_a_wrong_password_is_refused(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    await as_user(client, shared_redis, DOCUMENTED)
    wrong = Standalone(Endpoint("127.0.0.1", shared_redis.port, username="probe", password="no"))
    with pytest.raises(RefusedError):
        await missing_rights(wrong, [users], version="v2")


async def test_a_survey_tells_the_longest_time_to_live(
    client: Connection, shared_redis: RedisProcess, users: Family
) -> None:
    await client.pipeline(
        [
            ("SET", "user:v1:1", "{}", "EX", 60),
            ("SET", "user:v1:2", "{}", "EX", 300),
            ("SET", "user:v1:3", "{}"),
            ("SET", "user:v2:1", "{}"),
        ]
    )
    report = await Survey(shared_redis.server, [users], ["v1", "v2"]).run()
    assert report.of("user", "v1").longest_ttl_seconds == pytest.approx(300, abs=5)
    assert report.of("user", "v2").longest_ttl_seconds is None
