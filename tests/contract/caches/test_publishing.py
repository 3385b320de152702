"""The key that names the versions in use, on a real server."""

import pytest

from cacherollout.adapters.cache import RedisCaches, backends, publishing, supervision
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.cache import Connection, Endpoint, Standalone
from cacherollout.core.actions import PublishWork, RetireWork
from cacherollout.core.facts import CacheFacts, WorkFacts
from cacherollout.shell.clock import wall_clock
from tests.contract.cache.conftest import until as until_true

from .conftest import KEY, FakeObjects, RedisProcess, a_spec, count, fill, until

AT = "app:versions"
BOTH = PublishWork(AT, ("v1", "v2"))
ALONE = PublishWork(AT, ("v2",))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(supervision, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(publishing, "LOOK_SECONDS", 0.05)


@pytest.fixture(autouse=True)
def _allowed(redis: RedisProcess, objects: FakeObjects) -> None:
    objects.put_backend(redis.port, keyPrefixes=["user:", "booking:", "app:"])


def a_named_spec(at: str = AT) -> CacheRolloutSpec:
    spec = a_spec()
    return spec.model_copy(update={"cache": spec.cache.model_copy(update={"versions_key": at})})


def found(facts: CacheFacts, work: PublishWork) -> WorkFacts:
    known = facts.work(work.key)
    assert known
    return known


async def published(caches: RedisCaches, work: PublishWork = BOTH) -> WorkFacts:
    await caches.run(KEY, a_named_spec(), (work,), ())
    facts = await until(caches, a_named_spec(), lambda facts: found(facts, work).since)
    return found(facts, work)


async def until_it_is(client: Connection, value: bytes) -> None:
    async def is_it() -> bool:
        return bool(await client.call("GET", AT) == value)

    await until_true(is_it)


async def test_the_versions_are_there_as_one_string_that_does_not_expire(
    caches: RedisCaches, client: Connection
) -> None:
    began = wall_clock()
    facts = await published(caches)
    assert await client.call("GET", AT) == b"v1,v2"
    assert await client.call("PTTL", AT) == -1
    assert facts.since is not None
    assert began <= facts.since <= wall_clock()
    assert not facts.is_done
    assert facts.problem is None


async def test_a_key_that_is_right_is_not_written_again(
    caches: RedisCaches, client: Connection
) -> None:
    await published(caches)
    reads = await calls(client, "get")
    await until_true(lambda: has_looked(client, reads + 5))
    assert await calls(client, "set") == 1


async def has_looked(client: Connection, count: int) -> bool:
    return await calls(client, "get") >= count


async def calls(client: Connection, command: str) -> int:
    told = (await client.call("INFO", "commandstats")).decode()
    lines = [line for line in told.splitlines() if line.startswith(f"cmdstat_{command}:calls=")]
    return int(lines[0].split("=")[1].split(",")[0]) if lines else 0


async def test_a_lost_key_is_published_again_and_counts_from_then(
    caches: RedisCaches, client: Connection
) -> None:
    first = (await published(caches)).since
    await client.call("FLUSHALL")
    await until_it_is(client, b"v1,v2")
    facts = await caches.observe(KEY, a_named_spec())
    since = found(facts, BOTH).since
    assert since is not None
    assert first is not None
    assert since > first


async def test_an_older_value_is_replaced_in_one_write(
    caches: RedisCaches, client: Connection
) -> None:
    await client.call("SET", AT, "v0,v1")
    await published(caches)
    await published(caches, ALONE)
    assert await client.call("GET", AT) == b"v2"


async def test_publishing_goes_beside_retiring_and_is_no_version_of_its_own(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 20)
    retire, spec = RetireWork(("v1",)), a_named_spec()
    await caches.run(KEY, spec, (BOTH, retire), ())
    facts = await until(
        caches, spec, lambda facts: (known := facts.work(retire.key)) and known.is_done
    )
    assert await count(client, "user:v1:*") == 0
    assert found(facts, BOTH).since
    assert await client.call("GET", AT) == b"v1,v2"


async def test_a_server_that_comes_back_empty_is_told_again(
    caches: RedisCaches, redis: RedisProcess, client: Connection
) -> None:
    await published(caches)
    redis.stop()
    await until(caches, a_named_spec(), lambda facts: found(facts, BOTH).since is None)
    redis.start()
    again = await redis.connect()
    await until_it_is(again, b"v1,v2")
    await again.wait_closed()


@pytest.mark.parametrize(
    "command", [("SET", AT, "{}"), ("RPUSH", AT, "job"), ("HSET", AT, "a", "1")]
)
async def test_what_the_application_keeps_there_is_not_written_over(
    caches: RedisCaches, client: Connection, command: tuple[str, ...]
) -> None:
    await client.call(*command)
    before = await client.call("DUMP", AT)
    await caches.run(KEY, a_named_spec(), (BOTH,), ())
    facts = await until(caches, a_named_spec(), lambda facts: found(facts, BOTH).problem)
    problem = found(facts, BOTH).problem
    assert problem
    assert problem.reason == Reason.INVALID_SPEC
    assert "choose another key" in problem.message
    assert await client.call("DUMP", AT) == before


async def test_before_a_release_it_is_said_whether_it_can_be_published(
    redis: RedisProcess, client: Connection
) -> None:
    server = Standalone(Endpoint("127.0.0.1", redis.port))
    assert await publishing.trouble_with(server, AT) == ""
    await client.call("SET", AT, "v1,v2")
    assert await publishing.trouble_with(server, AT) == ""
    await client.call("SET", AT, "{}")
    assert "holds something else than versions" in await publishing.trouble_with(server, AT)
    await client.call("ACL", "SETUSER", "operator", "reset", "on", ">secret", "~user:*", "+@all")
    server = Standalone(Endpoint("127.0.0.1", redis.port, username="operator", password="secret"))
    assert "lacks GET and SET on cache.versionsKey" in await publishing.trouble_with(server, AT)
    assert await client.call("GET", AT) == b"{}"


async def test_a_user_that_may_not_write_it_is_told_what_to_grant(
    caches: RedisCaches, objects: FakeObjects, redis: RedisProcess, client: Connection
) -> None:
    rules = ["~user:*", "+@all"]
    await client.call("ACL", "SETUSER", "operator", "reset", "on", ">secret", *rules)
    objects.secrets[type(KEY)("shop", "login")] = {"username": b"operator", "password": b"secret"}
    login = {"credentialsSecretRef": {"name": "login"}}
    objects.put_backend(redis.port, uid="b2", redis=login, keyPrefixes=["user:", "app:"])
    await caches.run(KEY, a_named_spec(), (BOTH,), ())
    facts = await until(caches, a_named_spec(), lambda facts: found(facts, BOTH).problem)
    problem = found(facts, BOTH).problem
    assert problem
    assert problem.reason == Reason.CACHE_ACCESS_DENIED
    assert "lacks GET or SET on cache.versionsKey 'app:versions'" in problem.message
    await client.call("ACL", "SETUSER", "operator", "(~app:versions +get +set)")
    await until(caches, a_named_spec(), lambda facts: found(facts, BOTH).since)
    assert await client.call("GET", AT) == b"v1,v2"


async def test_a_key_outside_the_prefixes_is_refused_before_anything_is_touched(
    caches: RedisCaches, client: Connection
) -> None:
    spec = a_named_spec("other:versions")
    facts = await caches.observe(KEY, spec)
    assert facts.problem
    assert facts.problem.reason == Reason.INVALID_SPEC
    assert "cache.versionsKey 'other:versions' must begin with" in facts.problem.message
    await caches.run(KEY, spec, (PublishWork("other:versions", ("v1", "v2")),), ())
    assert await client.call("DBSIZE") == 0


async def test_what_is_not_asked_for_any_more_is_left_as_it_is(
    caches: RedisCaches, client: Connection
) -> None:
    await published(caches)
    await caches.run(KEY, a_named_spec(), (), ())
    await client.call("DEL", AT)
    assert (await caches.observe(KEY, a_named_spec())).works == ()
    assert await client.call("EXISTS", AT) == 0
