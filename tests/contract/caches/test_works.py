"""The works that are asked for run, those that are not have ended, and each says how far it is."""

import asyncio
import json
import time

import pytest

from cacherollout.adapters.cache import RedisCaches, backends, supervision, sweeping
from cacherollout.api.names import Key
from cacherollout.api.reasons import Reason
from cacherollout.cache import Connection
from cacherollout.core.actions import (
    CopyWork,
    KeepWork,
    MirrorWork,
    RetireWork,
    VerifyWork,
    Work,
)
from cacherollout.core.facts import PodFacts
from cacherollout.ports.errors import InvariantError
from cacherollout.shell.clock import wall_clock

from .conftest import (
    BOOKINGS,
    KEY,
    FakeObjects,
    RedisProcess,
    a_pod,
    a_spec,
    count,
    fill,
    is_done,
    until,
)

COPY = CopyWork(("user",), "v1", "v2")
MIRROR = MirrorWork(("user",), (), "v1", "v2")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(supervision, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(sweeping, "VERIFY_SECONDS", 0.1)
    monkeypatch.setattr(sweeping, "SURVEY_SECONDS", 0.1)


async def test_a_copy_is_done_once_every_key_is_there(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 500)
    await fill(client, "v10", 5)
    spec = a_spec()
    await caches.run(KEY, spec, (COPY,), ())
    facts = await until(caches, spec, is_done(COPY))
    work = facts.work(COPY.key)
    assert work
    assert work.problem is None
    assert (work.families[0].family, work.families[0].done) == ("user", 500)
    assert work.families[0].total == 500
    assert await count(client, "user:v2:*") == 500
    assert 200 < await client.call("TTL", "user:v2:1") <= 300


async def test_a_done_work_stays_done_and_is_not_begun_again(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 10)
    spec = a_spec()
    await caches.run(KEY, spec, (COPY,), ())
    await until(caches, spec, is_done(COPY))
    await client.call("DEL", "user:v2:1")
    await caches.run(KEY, spec, (COPY,), ())
    assert is_done(COPY)(await caches.observe(KEY, spec))
    assert await count(client, "user:v2:*") == 9


async def test_a_work_that_is_not_asked_for_any_more_has_ended_when_run_returns(
    caches: RedisCaches, objects: FakeObjects, redis: RedisProcess, client: Connection
) -> None:
    objects.put_backend(redis.port, limits={"keysPerSecond": 100})
    await fill(client, "v1", 1000)
    spec = a_spec()
    await caches.run(KEY, spec, (COPY,), ())
    await until(caches, spec, lambda facts: facts.works[0].families[0].done)
    await caches.run(KEY, spec, (RetireWork(("v2",)),), ())
    assert [work.key for work in (await caches.observe(KEY, spec)).works] == ["retire/v2"]
    await until(caches, spec, is_done(RetireWork(("v2",))))
    assert await count(client, "user:v2:*") == 0
    assert await count(client, "user:v1:*") == 1000


async def test_retiring_takes_every_key_of_the_versions_and_no_other(
    caches: RedisCaches, client: Connection
) -> None:
    for version in ("v1", "v2", "v10", "v3"):
        await fill(client, version, 50)
    await fill(client, "v1", 20, stem="booking")
    await client.call("SET", "session:v1:1", "foreign")
    spec, work = a_spec(a_user(), BOOKINGS), RetireWork(("v1", "v2"))
    await caches.run(KEY, spec, (work,), ())
    facts = await until(caches, spec, is_done(work))
    done = facts.work(work.key)
    assert done
    assert {one.family: one.done for one in done.families} == {"user": 100, "bookings": 20}
    assert await count(client, "*:v1:*") == 1
    assert await count(client, "user:v10:*") == 50
    assert await count(client, "user:v3:*") == 50
    await caches.run(KEY, spec, (), ())
    await caches.run(KEY, spec, (work,), ())
    await until(caches, spec, is_done(work))


async def test_no_version_is_removed_that_another_work_preserves(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 10)
    with pytest.raises(InvariantError, match="v1"):
        await caches.run(KEY, a_spec(), (COPY, RetireWork(("v1",))), ())
    assert await count(client, "user:v1:*") == 10


async def test_a_mirror_makes_the_versions_coherent_and_copies_go_through_it(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 200)
    spec = a_spec()
    await caches.run(KEY, spec, (MIRROR, COPY), ())
    first = await caches.observe(KEY, spec)
    assert first.coherence
    facts = await until(caches, spec, is_done(COPY))
    assert facts.coherence
    assert facts.coherence.is_coherent
    assert facts.coherence.incoherent_since is None
    await client.call("DEL", "user:v1:7")
    await until_gone(client, "user:v2:7")
    await client.call("SET", "user:v1:new", json.dumps({"id": 1}), "EX", 300)
    await until_there(client, "user:v2:new")


async def test_deletions_under_the_new_version_count_once_traffic_may_reach_it(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 50)
    spec = a_spec()
    await caches.run(KEY, spec, (MIRROR, COPY), ())
    await until(caches, spec, is_done(COPY))
    await caches.run(KEY, spec, (MIRROR, COPY), (a_pod("c1", 1, is_admitted=True),))
    await client.call("DEL", "user:v2:7")
    await until_gone(client, "user:v1:7")


async def test_a_mirror_alone_takes_nothing_from_the_version_that_serves(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 50)
    spec = a_spec()
    await caches.run(KEY, spec, (MIRROR,), ())
    await until(caches, spec, lambda facts: facts.coherence and facts.coherence.is_coherent)
    assert await count(client, "user:v1:*") == 50


@pytest.mark.parametrize(
    ("works", "pods", "is_used"),
    [
        ((MIRROR,), (), False),
        ((MIRROR, KeepWork("v1", 4e9)), (), True),
        ((MIRROR,), (a_pod("c1", 1, are_containers_ready=False),), False),
        ((MIRROR,), (a_pod("c1", 1),), True),
        ((MIRROR, RetireWork(("v0",))), (a_pod("c1", 1, is_admitted=True),), True),
    ],
)
async def test_when_traffic_may_reach_the_new_version(
    caches: RedisCaches,
    client: Connection,
    works: tuple[Work, ...],
    pods: tuple[PodFacts, ...],
    is_used: bool,
) -> None:
    await caches.run(KEY, a_spec(), works, pods)
    session = caches._rollouts[KEY].session
    assert session
    assert session._mirror
    assert session._mirror._mirror.serving == ({"v1", "v2"} if is_used else {"v1"})


async def test_a_lost_connection_is_incoherent_until_it_is_repaired(
    caches: RedisCaches, redis: RedisProcess, client: Connection
) -> None:
    await fill(client, "v1", 50)
    spec = a_spec()
    await caches.run(KEY, spec, (MIRROR,), ())
    await until(caches, spec, lambda facts: facts.coherence and facts.coherence.is_coherent)
    redis.stop()
    facts = await until(
        caches, spec, lambda facts: facts.coherence and not facts.coherence.is_coherent
    )
    assert facts.coherence
    assert facts.coherence.incoherent_since == pytest.approx(wall_clock(), abs=5)
    redis.start()
    await until(caches, spec, lambda facts: facts.coherence and facts.coherence.is_coherent)


async def test_a_failing_work_says_why_and_goes_on_by_itself(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 2000)
    await client.call("CONFIG", "SET", "maxmemory", 1_500_000)
    spec = a_spec()
    await caches.run(KEY, spec, (COPY,), ())
    facts = await until(caches, spec, lambda facts: facts.works[0].problem)
    assert facts.works[0].problem
    assert facts.works[0].problem.reason == Reason.CACHE_FULL
    assert "memoryCeilingPercent" in facts.works[0].problem.message
    assert not facts.works[0].is_done
    await client.call("CONFIG", "SET", "maxmemory", 0)
    facts = await until(caches, spec, is_done(COPY))
    assert facts.works[0].problem is None


async def test_verifying_counts_no_value_twice(caches: RedisCaches, client: Connection) -> None:
    await fill(client, "v1", 40)
    await client.call("SET", "user:v1:bad", '{"name": "no id"}', "EX", 300)
    spec, work = a_spec(), VerifyWork("v1", 200)
    await caches.run(KEY, spec, (work,), ())
    await until(caches, spec, lambda facts: facts.integrity[0].sampled)
    rounds = 0
    for _ in range(20):
        facts = await caches.observe(KEY, spec)
        rounds = max(rounds, caches._rollouts[KEY].session._running[work.key].runner._rounds)
        assert (facts.integrity[0].sampled, facts.integrity[0].corrupt) == (41, 1)
        await asyncio.sleep(0.05)
    assert rounds > 2
    assert facts.integrity[0].version == "v1"
    assert facts.integrity[0].example == "1 of 41 values of user lack the field 'id'"


async def test_samples_of_a_large_namespace_add_up_to_no_more_than_its_keys(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 1000)
    spec, work = a_spec(), VerifyWork("v1", 300)
    await caches.run(KEY, spec, (work,), ())
    await until(caches, spec, lambda facts: facts.integrity[0].sampled == 900)
    for _ in range(10):
        assert (await caches.observe(KEY, spec)).integrity[0].sampled <= 1000
        await asyncio.sleep(0.05)


async def test_keeping_lengthens_the_ttls_again_and_again_until_the_end(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 20, ttl=30)
    spec = a_spec({**a_user(), "ttl": "2s"})
    work = KeepWork("v1", until=wall_clock() + 100)
    await caches.run(KEY, spec, (work,), ())
    await until_ttl(client, "user:v1:3", 95, 100)
    await client.call("SET", "user:v1:late", "{}", "EX", 2)
    await until_ttl(client, "user:v1:late", 95, 100)
    later = KeepWork("v1", until=wall_clock() + 200)
    await caches.run(KEY, spec, (later,), ())
    await until_ttl(client, "user:v1:3", 190, 200)
    over = KeepWork("v1", until=wall_clock())
    await caches.run(KEY, spec, (over,), ())
    await until(caches, spec, is_done(work))
    assert await client.call("TTL", "user:v1:3") > 180


async def test_the_sizes_of_the_versions_are_counted(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 30)
    await fill(client, "v2", 10)
    spec = a_spec()
    await caches.run(KEY, spec, (MIRROR,), ())
    facts = await until(caches, spec, lambda facts: len(facts.sizes) == 2)
    sizes = {size.version: size for size in facts.sizes}
    assert sizes["v1"].keys == 30
    assert sizes["v1"].bytes > 1000
    assert "v2" in sizes


async def test_a_backend_limit_holds_for_all_rollouts_together(
    caches: RedisCaches, objects: FakeObjects, redis: RedisProcess, client: Connection
) -> None:
    objects.put_backend(redis.port, limits={"keysPerSecond": 400})
    await fill(client, "v1", 200)
    await fill(client, "v1", 200, stem="booking")
    one, other = a_spec(), a_spec({**BOOKINGS, "warm": "Copy"})
    begun_at = time.monotonic()
    second = CopyWork(("bookings",), "v1", "v2")
    await caches.run(KEY, one, (COPY,), ())
    await caches.run(Key("shop", "other"), other, (second,), ())
    await until(caches, one, is_done(COPY))
    await until(caches, other, is_done(second), key=Key("shop", "other"))
    # 400 keys at 400 a second; each rollout alone would take half of that.
    assert 0.9 < time.monotonic() - begun_at < 5


async def test_what_is_forgotten_has_ended(caches: RedisCaches, client: Connection) -> None:
    spec = a_spec()
    await caches.run(KEY, spec, (MIRROR, VerifyWork("v1", 10)), ())
    await until(caches, spec, lambda facts: facts.coherence and facts.coherence.is_coherent)
    await caches.forget(KEY)
    facts = await caches.observe(KEY, spec)
    assert facts.works == ()
    assert facts.coherence is None
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not names & {MIRROR.key, "verify/v1", "survey"}
    clients = (await client.call("CLIENT", "LIST")).decode()
    assert clients.count("\n") == 1


async def test_changed_families_begin_the_works_anew(
    caches: RedisCaches, client: Connection
) -> None:
    await fill(client, "v1", 10)
    await fill(client, "v1", 10, stem="booking")
    await caches.run(KEY, a_spec(), (COPY,), ())
    await until(caches, a_spec(), is_done(COPY))
    spec = a_spec({"name": "user", "key": "booking:{version}:list:{id}"})
    await caches.run(KEY, spec, (COPY,), ())
    await until(caches, spec, is_done(COPY))
    assert await count(client, "booking:v2:list:*") == 10


def a_user() -> dict[str, object]:
    return {"name": "user", "key": "user:{version}:{id}", "required": ["id"]}


async def until_gone(client: Connection, key: str) -> None:
    await until_reply(client, ("EXISTS", key), 0, 0)


async def until_there(client: Connection, key: str) -> None:
    await until_reply(client, ("EXISTS", key), 1, 1)


async def until_ttl(client: Connection, key: str, least: int, most: int) -> None:
    await until_reply(client, ("TTL", key), least, most)


async def until_reply(client: Connection, command: tuple[str, str], least: int, most: int) -> None:
    deadline = time.monotonic() + 10
    while not least <= (reply := await client.call(*command)) <= most:
        assert time.monotonic() < deadline, reply
        await asyncio.sleep(0.01)
