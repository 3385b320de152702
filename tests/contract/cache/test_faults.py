"""What operations do when the server dies, refuses, stalls, fills up or is the wrong one."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cacherollout.cache import (
    Connection,
    Copy,
    Endpoint,
    Family,
    HeadroomError,
    Limits,
    NotReadyError,
    OutOfMemoryError,
    ReadOnlyError,
    RefusedError,
    Retire,
    Standalone,
    Survey,
    UnansweredError,
    UnreachableError,
    probe,
)
from tests.contract.cache.conftest import RedisProcess, dump, free_port, running, until

SECRET = "hunter2-canary"
KEYS = 6_000
SLOW = Limits(keys_per_second=20_000, page_keys=20)
IMPATIENT = Limits(patience_seconds=0, timeout_seconds=0.3)


@pytest.fixture
async def client(own_redis: RedisProcess) -> AsyncIterator[Connection]:
    """A connection to the test's own server, for tests that do not restart it."""
    connection = await own_redis.connect()
    yield connection
    await connection.wait_closed()


async def fill(client: Connection, count: int = KEYS, size: int = 20) -> None:
    for start in range(0, count, 1000):
        await client.pipeline(
            [
                ("SET", f"user:v1:{i}", f"{i}".ljust(size, "x"), "PX", 3_600_000)
                for i in range(start, min(start + 1000, count))
            ]
        )


async def until_half_done(operation: Copy | Retire, share: float = 0.3) -> None:
    await until(lambda: operation.progress.done >= KEYS * share)


async def assert_is_complete_copy(client: Connection) -> None:
    state = await dump(client)
    sources = {k: v for k, v in state.items() if k.startswith(b"user:v1:")}
    assert len(sources) == KEYS
    assert len(state) == 2 * KEYS
    for key, entry in sources.items():
        assert state[key.replace(b":v1:", b":v2:")] == entry


async def test_a_killed_connection_is_replaced_and_the_walk_goes_on(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    await fill(client)
    copy = Copy(own_redis.server, [users], source="v1", target="v2", limits=SLOW)
    async with running(copy.run()) as task:
        for share in (0.2, 0.5, 0.8):
            await until_half_done(copy, share)
            assert not task.done()
            await client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        report = await task
    await assert_is_complete_copy(client)
    assert copy.progress.done < KEYS * 1.05, "went on where it was, not from the start"
    assert report.families[0].copied <= KEYS


async def test_a_restarted_server_is_walked_from_the_start(
    own_redis: RedisProcess, users: Family
) -> None:
    own_redis.kill()
    own_redis.start("--appendonly", "yes")
    client = await own_redis.connect()
    await fill(client)
    copy = Copy(own_redis.server, [users], source="v1", target="v2", limits=SLOW)
    async with running(copy.run()) as task:
        await until_half_done(copy)
        own_redis.kill()
        await client.wait_closed()
        own_redis.start("--appendonly", "yes")
        report = await task
    client = await own_redis.connect()
    await assert_is_complete_copy(client)
    counts = report.families[0]
    assert counts.copied + counts.kept == KEYS, "keys seen before the restart count once"
    await client.wait_closed()


async def test_a_cancelled_copy_is_finished_by_another(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    await fill(client)
    for share in (0.1, 0.4):
        copy = Copy(own_redis.server, [users], source="v1", target="v2", limits=SLOW)
        async with running(copy.run()):
            await until_half_done(copy, share)
        assert not copy.progress.is_finished
    await Copy(own_redis.server, [users], source="v1", target="v2", limits=SLOW).run()
    await assert_is_complete_copy(client)


async def test_two_engines_on_one_namespace_end_as_one(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    await fill(client)
    copies = [
        Copy(own_redis.server, [users], source="v1", target="v2", limits=SLOW) for _ in range(2)
    ]
    reports = await asyncio.gather(*(copy.run() for copy in copies))
    await assert_is_complete_copy(client)
    assert sum(report.families[0].copied for report in reports) == KEYS


async def test_a_server_that_is_not_there_is_unreachable_once_patience_ends(
    users: Family,
) -> None:
    server = Standalone(Endpoint("127.0.0.1", free_port()))
    with pytest.raises(UnreachableError):
        await probe(server)
    patient = Limits(patience_seconds=0.4)
    began = time.monotonic()
    with pytest.raises(UnreachableError):
        await Survey(server, [users], ["v1"], patient).run()
    assert 0.4 <= time.monotonic() - began < 5


async def test_a_server_that_does_not_answer_is_given_up_in_time(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    server = own_redis.server
    survey = Survey(server, [users], ["v1"], IMPATIENT)
    await client.call("SET", "user:v1:1", "x")
    stalled = client.submit([("DEBUG", "SLEEP", "1.5")])
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"no (reply|answer) in 0\.3 s"):
        await survey.run()
    assert time.monotonic() - began < 1.4
    await client.finish(stalled)
    stalled = client.submit([("DEBUG", "SLEEP", "1.5")])
    report = await Survey(server, [users], ["v1"], Limits(timeout_seconds=0.3)).run()
    assert report.of("user", "v1").keys == 1, "waited out within the default patience"
    await client.finish(stalled)


async def test_an_unanswered_page_closes_the_connection(
    own_redis: RedisProcess, client: Connection
) -> None:
    other = await Connection.connect(own_redis.endpoint, timeout_seconds=0.2)
    stalled = client.submit([("DEBUG", "SLEEP", "0.6")])
    with pytest.raises(UnansweredError):
        await other.call("PING")
    assert other.lost.is_set()
    with pytest.raises(UnreachableError):
        await other.call("PING")
    await client.finish(stalled)
    await other.wait_closed()


async def test_a_cancelled_page_does_not_confuse_the_connection(client: Connection) -> None:
    abandoned = asyncio.create_task(client.call("ECHO", "abandoned"))
    await asyncio.sleep(0)
    abandoned.cancel()
    assert await client.call("ECHO", "wanted") == b"wanted"


async def test_loading_is_waited_out(own_redis: RedisProcess, users: Family) -> None:
    client = await own_redis.connect()
    await fill(client, 3000)
    await client.call("SAVE")
    await client.wait_closed()
    own_redis.kill()
    # 3,000 keys at 1 ms each: the server loads for 3 s.
    own_redis.start("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    seen = None
    while not isinstance(seen, NotReadyError):
        try:
            await Survey(own_redis.server, [users], ["v1"], IMPATIENT).run()
        except (NotReadyError, UnreachableError) as error:
            seen = error
        else:
            pytest.fail("the server was never seen loading")
    report = await Survey(own_redis.server, [users], ["v1"]).run()
    assert report.of("user", "v1").keys == 3000


async def test_wrong_credentials_are_refused_and_never_repeated(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    await client.call("CONFIG", "SET", "requirepass", "right")
    for endpoint in (
        Endpoint("127.0.0.1", own_redis.port, password=SECRET),
        Endpoint("127.0.0.1", own_redis.port, username=SECRET, password=SECRET),
        Endpoint("127.0.0.1", own_redis.port),
    ):
        with pytest.raises(RefusedError) as refused:
            await Survey(Standalone(endpoint), [users], ["v1"]).run()
        assert SECRET not in str(refused.value)
        assert SECRET not in repr(endpoint) or endpoint.username == SECRET
    right = Endpoint("127.0.0.1", own_redis.port, password="right")
    assert (await probe(Standalone(right))).role == "master"


async def test_tls_is_verified_and_a_bad_certificate_refused(
    own_redis: RedisProcess, users: Family, tls_files: tuple[Path, Path]
) -> None:
    certificate, key = tls_files
    own_redis.kill()
    own_redis.start(
        *["--port", "0", "--tls-port", str(own_redis.port), "--tls-auth-clients", "no"],
        *["--tls-cert-file", str(certificate), "--tls-key-file", str(key)],
    )
    trusting = ssl.create_default_context(cafile=str(certificate))
    endpoint = Endpoint("localhost", own_redis.port, tls=trusting)
    report = await Survey(Standalone(endpoint), [users], ["v1"]).run()
    assert report.of("user", "v1").keys == 0
    for wrong in (
        replace(endpoint, tls=ssl.create_default_context()),
        replace(endpoint, host="127.0.0.1"),
    ):
        with pytest.raises(RefusedError, match="certificate"):
            await Survey(Standalone(wrong), [users], ["v1"]).run()
    with pytest.raises(UnreachableError):
        await Survey(Standalone(replace(endpoint, tls=None)), [users], ["v1"], IMPATIENT).run()


async def test_the_documented_rights_suffice_and_a_missing_one_is_named(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    await fill(client, 100)
    await client.call(
        *[
            "ACL",
            "SETUSER",
            "engine",
            "on",
            ">pw",
            "resetkeys",
            "~user:*",
            "resetchannels",
            "-@all",
        ],
        *["+scan", "+copy", "+unlink", "+pttl", "+info", "+dbsize", "+ping", "+memory|usage"],
    )
    server = Standalone(Endpoint("127.0.0.1", own_redis.port, username="engine", password="pw"))
    await Copy(server, [users], source="v1", target="v2").run()
    await client.call("ACL", "SETUSER", "engine", "-unlink")
    with pytest.raises(RefusedError, match="unlink"):
        await Retire(server, [users], versions=["v2"]).run()
    assert await client.call("DBSIZE") == 200


async def test_a_replica_is_not_written_to(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    await fill(client, 50)
    await client.call("CONFIG", "SET", "replica-serve-stale-data", "yes")
    await client.call("REPLICAOF", "127.0.0.1", free_port())
    with pytest.raises(ReadOnlyError):
        await Retire(own_redis.server, [users], versions=["v1"], limits=IMPATIENT).run()
    retire = Retire(own_redis.server, [users], versions=["v1"])
    async with running(retire.run()) as task:
        await asyncio.sleep(0.1)
        await client.call("REPLICAOF", "NO", "ONE")
        await task
    assert await client.call("DBSIZE") == 0


async def used_bytes(own_redis: RedisProcess) -> int:
    return (await probe(own_redis.server)).memory.used_bytes


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "volatile-lru"])
async def test_copy_refuses_beforehand_what_does_not_fit(
    own_redis: RedisProcess, client: Connection, users: Family, policy: str
) -> None:
    await fill(client, size=1000)
    used = await used_bytes(own_redis)
    await client.call("CONFIG", "SET", "maxmemory", int(used * 1.7))
    await client.call("CONFIG", "SET", "maxmemory-policy", policy)
    with pytest.raises(HeadroomError, match=r"more bytes.*% of maxmemory"):
        await Copy(own_redis.server, [users], source="v1", target="v2", limits=SLOW).run()
    assert await client.call("DBSIZE") == KEYS


async def test_an_evicting_server_is_filled_to_80_percent_at_most(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    await fill(client, size=1000)
    used = await used_bytes(own_redis)
    generous = Limits(memory_ceiling_percent=95)
    await client.call("CONFIG", "SET", "maxmemory", used * 2 * 100 // 88)
    await client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    with pytest.raises(HeadroomError, match="80 %"):
        await Copy(own_redis.server, [users], source="v1", target="v2", limits=generous).run()
    await client.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await Copy(own_redis.server, [users], source="v1", target="v2", limits=generous).run()
    await assert_is_complete_copy(client)


@pytest.mark.parametrize("limits", [SLOW, Limits.unthrottled(page_keys=20)], ids=["polite", "full"])
async def test_memory_that_runs_out_on_the_way_stops_the_copy_within_pages(
    own_redis: RedisProcess, client: Connection, users: Family, limits: Limits
) -> None:
    await fill(client, size=1000)
    copy = Copy(own_redis.server, [users], source="v1", target="v2", limits=limits)
    async with running(_swallow(copy)) as task:
        await until_half_done(copy, 0.2)
        await client.call("CONFIG", "SET", "maxmemory", await used_bytes(own_redis))
        at = copy.progress.done
        failure = await task
    assert isinstance(failure, HeadroomError | OutOfMemoryError)
    assert copy.progress.done - at < 6 * limits.page_keys
    sources = [k for k in await dump(client) if k.startswith(b"user:v1:")]
    assert len(sources) == KEYS


async def test_an_evicting_server_that_fills_up_on_the_way_stops_the_copy_too(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    """Such a server never refuses: it would make room by taking the serving version's keys."""
    await fill(client, size=1000)
    copy = Copy(own_redis.server, [users], source="v1", target="v2", limits=SLOW)
    async with running(_swallow(copy)) as task:
        await until_half_done(copy, 0.2)
        await client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await client.call("CONFIG", "SET", "maxmemory", await used_bytes(own_redis) * 100 // 79)
        failure = await task
    assert isinstance(failure, HeadroomError)
    assert await client.call("DBSIZE") < 1.8 * KEYS
    sources = [k for k in await dump(client) if k.startswith(b"user:v1:")]
    assert len(sources) == KEYS


async def _swallow(copy: Copy) -> Exception | None:
    try:
        await copy.run()
    except (HeadroomError, OutOfMemoryError) as error:
        return error
    return None


async def test_the_event_loop_is_never_held_for_50_ms(
    own_redis: RedisProcess, client: Connection, users: Family
) -> None:
    await fill(client, 20_000)
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            gaps.append(time.thread_time() - before)

    async with running(tick()):
        await Copy(
            own_redis.server, [users], source="v1", target="v2", limits=Limits.unthrottled()
        ).run()
        await Retire(own_redis.server, [users], versions=["v1"], limits=Limits.unthrottled()).run()
    assert max(gaps) < 0.05, "CPU time of one turn of the event loop"
