"""`cacherollout cache` against real servers: what it does, what it leaves alone, what it says."""

import json
import os
import pty
import re
from typing import Any

import pytest

from cacherollout.cache import Connection
from tests.contract.cache import commands
from tests.contract.cache.commands import FAMILY, Done, finish, interrupt_once, run
from tests.contract.cache.conftest import Dump, RedisProcess, dump, plant_foreign_keys
from tests.contract.cache.test_operations import ODD_IDS, fill

COUNT = 300 + len(ODD_IDS)


def parsed(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def ours(entries: Dump, version: str) -> Dump:
    head = b"user:%s:" % version.encode()
    return {
        key.removeprefix(head): entry
        for key, entry in entries.items()
        if key.startswith(head) and key != head
    }


async def test_survey_finds_the_versions_that_are_there(
    client: Connection, shared_redis: RedisProcess
) -> None:
    await fill(client, "v1")
    await fill(client, "v10", 5)
    await client.call("SET", "user:v1:immortal", "x")
    before = await dump(client)
    document = parsed(await run(shared_redis, "survey", "-o", "json"))
    assert [(n["version"], n["keys"]) for n in document["namespaces"]] == [
        ("v1", COUNT + 1),
        ("v10", 5 + len(ODD_IDS)),
    ]
    first = document["namespaces"][0]
    assert (first["family"], first["keysWithoutTtl"]) == ("user", 1)
    assert 90 < first["longestTtlSeconds"] <= 101
    assert first["bytes"] > 0
    assert set(document["memory"]) == {"usedBytes", "limitBytes", "policy", "headroomBytes"}
    assert set(document) == {"command", "server", "seconds", "namespaces", "memory"}
    table = await run(shared_redis, "survey", "--version", "v1")
    assert table.stdout.splitlines()[1].split()[:3] == ["user", "v1", str(COUNT + 1)]
    assert "no maxmemory is set" in table.stdout
    assert await dump(client) == before


async def test_survey_says_that_ids_stand_where_versions_should(
    client: Connection, shared_redis: RedisProcess
) -> None:
    await client.pipeline([("SET", f"user:{n}:profile", "x") for n in range(1500)])
    done = await run(shared_redis, "survey")
    assert done.code == 2
    assert "what stands in the place of {version} are ids" in done.stderr


async def test_hot_lists_ids_and_says_how_it_knows(
    client: Connection, shared_redis: RedisProcess
) -> None:
    await client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    try:
        await fill(client, "v1", 20)
        for _ in range(300):
            await client.call("GET", b"user:v1:\xff\r\n")
        document = parsed(
            await run(shared_redis, *["hot", "--version", "v1", "--top", "3", "-o", "json"])
        )
    finally:
        await client.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert document["measure"] == "frequency"
    (family,) = document["families"]
    assert family["ids"][0]["id"] == r"\xff\x0d\x0a"
    assert len(family["ids"]) == 3
    table = await run(shared_redis, "hot", "--version", "v1")
    assert "Fewer seconds are hotter" in table.stdout


async def test_copy_fills_the_target_and_touches_nothing_else(
    client: Connection, shared_redis: RedisProcess
) -> None:
    await plant_foreign_keys(client)
    await fill(client, "v1")
    await client.pipeline([("SET", "user:v1:immortal", "x"), ("SET", "user:v2:1", "newer")])
    before = await dump(client)
    dry = parsed(
        await run(shared_redis, *["copy", "--from", "v1", "--to", "v2", "--dry-run", "-o", "json"])
    )
    assert await dump(client) == before
    document = parsed(
        await run(shared_redis, *["copy", "--from", "v1", "--to", "v2", "-o", "json"])
    )
    after = await dump(client)
    assert before.items() <= after.items()
    assert ours(after, "v2") == ours(before, "v1") | ours(before, "v2")
    assert len(after) == len(before) + COUNT
    (counts,) = document["families"]
    assert counts.pop("bytes") > 0
    assert counts == {"family": "user", "copied": COUNT, "leftAlone": 1, "withoutTtl": 1}
    assert dry["families"][0]["copied"] == COUNT
    assert dry["families"][0]["leftAlone"] == 1
    assert (dry["dryRun"], document["dryRun"]) == (True, False)
    assert dry["estimatedSeconds"] > 0
    assert "estimatedSeconds" not in document


async def test_a_copy_that_is_stopped_ends_politely_and_goes_on(
    client: Connection, shared_redis: RedisProcess
) -> None:
    await fill(client, "v1", 4000)
    total = await client.call("DBSIZE")
    url = f"redis://127.0.0.1:{shared_redis.port}"
    command = ("copy", "--redis", url, *FAMILY, "--from", "v1", "--to", "v2")
    process = await commands.start(*command, "--keys-per-second", "2000")
    stopped = await interrupt_once(process, client, total)
    assert stopped.code == 130
    # A slow machine gets to a line of progress before.
    assert re.search("^Stopped while copying: ", stopped.stderr, re.MULTILINE)
    assert "run the same command again" in stopped.stderr
    assert await client.call("DBSIZE") < 2 * total
    again = await finish(await commands.start(*command, "--unthrottled"))
    assert again.code == 0, again.stderr
    after = await dump(client)
    assert ours(after, "v2") == ours(after, "v1")
    assert len(after) == 2 * total


async def test_verify_counts_what_a_reader_could_not_use(
    client: Connection, shared_redis: RedisProcess
) -> None:
    await fill(client, "v1", 20)
    good = await run(shared_redis, *["verify", "--version", "v1", "--required", "id"])
    assert good.code == 0, good.stderr
    bad = await run(
        shared_redis, *["verify", "--version", "v1", "--required", "user=id,email", "-o", "json"]
    )
    assert bad.code == 1
    (family,) = json.loads(bad.stdout)["families"]
    assert family["missing"] == {"email": 20 + len(ODD_IDS)}
    assert family["corrupt"] == family["incomplete"] == family["sampled"] == 20 + len(ODD_IDS)
    empty = await run(shared_redis, *["verify", "--version", "v2"])
    assert empty.code == 1
    assert "No key of v2 was found (user:v2:…)" in empty.stderr


async def test_keep_lengthens_what_would_end_sooner(
    client: Connection, shared_redis: RedisProcess
) -> None:
    foreign = await plant_foreign_keys(client)
    await fill(client, "v1", 20)
    await client.pipeline([("SET", "user:v1:long", "x", "EX", 9999), ("SET", "user:v1:ever", "x")])
    before = await dump(client)
    command = ["keep", "--version", "v1", "--for", "15m", "-o", "json"]
    dry = parsed(await run(shared_redis, *command, "--dry-run"))
    assert await dump(client) == before
    document = parsed(await run(shared_redis, *command))
    after = await dump(client)
    assert dry["families"] == document["families"]
    assert document["families"] == [
        {"family": "user", "lengthened": 20 + len(ODD_IDS), "leftAlone": 2}
    ]
    assert {key: after[key] for key in foreign} == foreign
    for untouched in (b"user:v1:long", b"user:v1:ever"):
        assert after[untouched] == before[untouched]
    assert await client.call("TTL", "user:v1:1") > 890


async def test_retire_takes_the_version_to_the_delimiter(
    client: Connection, shared_redis: RedisProcess
) -> None:
    foreign = await plant_foreign_keys(client)
    await fill(client, "v1")
    before = await dump(client)
    command = ["retire", "--version", "v1", "-o", "json"]
    dry = parsed(await run(shared_redis, *command, "--dry-run"))
    refused = await run(shared_redis, *command)
    assert refused.code == 2
    assert "no terminal to ask at: nothing was removed" in refused.stderr
    assert await dump(client) == before
    document = parsed(await run(shared_redis, *command, "--yes"))
    assert document["families"] == [{"family": "user", "version": "v1", "keys": COUNT}]
    assert dry["families"][0].pop("bytes") > 0
    assert dry["families"] == document["families"]
    assert await dump(client) == foreign


@pytest.mark.parametrize(("typed", "is_removed"), [(b"v1\n", True), (b"v10\n", False)])
async def test_retire_asks_for_the_version_at_a_terminal(
    client: Connection, shared_redis: RedisProcess, typed: bytes, is_removed: bool
) -> None:
    await fill(client, "v1", 5)
    before = await dump(client)
    leader, follower = pty.openpty()
    os.write(leader, typed)
    url = f"redis://127.0.0.1:{shared_redis.port}"
    process = await commands.start(
        "retire", "--redis", url, *FAMILY, "--version", "v1", stdin=follower
    )
    done = await finish(process)
    os.close(leader)
    os.close(follower)
    assert "v1 of user: about 16 keys" in done.stderr
    assert (done.code == 0) == is_removed, done.stderr
    assert await dump(client) == ({} if is_removed else before)


async def test_credentials_and_rights_are_named_never_shown(
    client: Connection, shared_redis: RedisProcess
) -> None:
    await fill(client, "v1", 5)
    await client.call(
        "ACL", "SETUSER", "probe", *["reset", "on", ">secret", "~user:*", "+@all", "-copy"]
    )
    try:
        command = ["copy", "--from", "v1", "--to", "v2"]
        denied = await run(shared_redis, *command, user="probe@", password="secret")
        wrong = await run(shared_redis, *command, user="probe@", password="guess")
        absent = await run(shared_redis, *command, user="probe@")
    finally:
        await client.call("ACL", "DELUSER", "probe")
    assert denied.code == wrong.code == absent.code == 2
    assert "the user 'probe' lacks a right: COPY on user:*. Let an admin" in denied.stderr
    assert "does not accept the password of 'probe'" in wrong.stderr
    assert "set $CACHEROLLOUT_REDIS_PASSWORD" in absent.stderr
    assert "secret" not in denied.stdout + denied.stderr
    assert "guess" not in wrong.stdout + wrong.stderr


async def test_a_server_that_wants_a_password_is_recognised(own_redis: RedisProcess) -> None:
    client = await own_redis.connect()
    await client.call("CONFIG", "SET", "requirepass", "secret")
    without = await run(own_redis, "survey")
    given = await run(own_redis, "survey", password="secret")
    await client.wait_closed()
    assert without.code == 2
    assert "the server wants a password. Set $CACHEROLLOUT_REDIS_PASSWORD" in without.stderr
    assert given.code == 0, given.stderr


async def test_an_unknown_server_is_said_at_once(unused_tcp_port: int) -> None:
    nowhere = RedisProcess(commands.ROOT, port=unused_tcp_port)
    done = await run(nowhere, "survey")
    assert done.code == 2
    assert f"127.0.0.1:{unused_tcp_port}" in done.stderr
    assert "Check that the server runs and that --redis names it" in done.stderr


async def test_a_database_that_is_not_there_is_named(
    client: Connection, shared_redis: RedisProcess
) -> None:
    url = f"redis://127.0.0.1:{shared_redis.port}/9999"
    done = await finish(await commands.start("survey", "--redis", url, *FAMILY))
    assert done.code == 2
    assert "/9999: the server has no such database" in done.stderr


async def test_a_replica_is_left_alone(own_redis: RedisProcess) -> None:
    client = await own_redis.connect()
    await fill(client, "v1", 5)
    await client.call("REPLICAOF", "127.0.0.1", "1")
    before = await dump(client)
    for command in ("copy --from v1 --to v2", "keep --version v1 --for 1m"):
        done = await run(own_redis, *command.split())
        assert done.code == 1
        assert "is a replica, which takes no writes: nothing was written" in done.stderr
    assert await dump(client) == before
    await client.wait_closed()


async def test_a_copy_that_does_not_fit_is_refused_before_it_begins(
    own_redis: RedisProcess,
) -> None:
    client = await own_redis.connect()
    await fill(client, "v1", 4000)
    before = await dump(client)
    used = int((await client.call("MEMORY", "STATS"))[b"total.allocated"])
    await client.call("CONFIG", "SET", "maxmemory", str(int(used * 1.2)))
    done = await run(own_redis, *["copy", "--from", "v1", "--to", "v2"])
    assert done.code == 1
    assert "are left below 85 % of maxmemory" in done.stderr
    assert "raise --memory-ceiling" in done.stderr
    assert await dump(client) == before
    await client.wait_closed()
