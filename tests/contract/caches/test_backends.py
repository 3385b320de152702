"""A cache that cannot be used is a fact with a reason and a fix, never an exception."""

import asyncio
import subprocess
import time
from typing import Any

import pytest

from cacherollout.adapters.cache import RedisCaches, backends
from cacherollout.api.names import Key
from cacherollout.api.reasons import Reason
from cacherollout.cache import Connection
from cacherollout.core.actions import VerifyWork
from cacherollout.ports.errors import DependencyError

from .conftest import KEY, FakeObjects, RedisProcess, a_spec, fill, until

SECRET = Key("shop", "login")
WITH_LOGIN = {"redis": {"credentialsSecretRef": {"name": "login"}}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "RETRY_SECONDS", 0.05)


async def test_a_healthy_cache_tells_its_memory(caches: RedisCaches, client: Connection) -> None:
    await client.call("CONFIG", "SET", "maxmemory", 100_000_000)
    facts = await caches.observe(KEY, a_spec())
    assert facts.problem is None
    assert facts.used_memory
    assert facts.max_memory == 100_000_000
    assert facts.works == ()
    assert facts.coherence is None


async def test_a_server_without_a_limit_has_none(caches: RedisCaches, client: Connection) -> None:
    await client.call("CONFIG", "SET", "maxmemory", 0)
    assert (await caches.observe(KEY, a_spec())).max_memory is None


async def test_a_missing_backend_is_named_and_found_once_it_is_there(
    caches: RedisCaches, objects: FakeObjects, redis: RedisProcess
) -> None:
    objects.backends.clear()
    problem = (await caches.observe(KEY, a_spec())).problem
    assert problem
    assert problem.reason == Reason.BACKEND_MISSING
    assert "CacheBackend shop/main does not exist; create it" in problem.message
    objects.put_backend(redis.port)
    await until(caches, a_spec(), lambda facts: facts.problem is None)


async def test_the_object_is_read_once_a_minute_while_all_is_well(
    caches: RedisCaches, objects: FakeObjects, client: Connection
) -> None:
    for _ in range(5):
        await caches.observe(KEY, a_spec())
        await caches.observe(Key("shop", "other"), a_spec())
    assert objects.reads == 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"redis": {"address": "redis"}}, "spec.redis.address"),
        ({"keyPrefixes": []}, "spec.keyPrefixes"),
        ({"redis": {"credentialsSecretRef": {"name": "gone"}}}, "Secret shop/gone does not exist"),
        (WITH_LOGIN, "has no key 'password'"),
        ({"redis": {"tls": {"enabled": True, "caSecretName": "gone"}}}, "redis.tls.caSecretName"),
        ({"redis": {"tls": {"enabled": True, "caSecretName": "login"}}}, "PEM"),
    ],
)
async def test_a_backend_that_cannot_be_used_says_which_field(
    caches: RedisCaches,
    objects: FakeObjects,
    redis: RedisProcess,
    spec: dict[str, Any],
    words: str,
) -> None:
    objects.secrets[SECRET] = {"user": b"x", "ca.crt": b"nonsense"}
    objects.put_backend(redis.port, **spec)
    problem = (await caches.observe(KEY, a_spec())).problem
    assert problem
    assert problem.reason in (Reason.INVALID_SPEC, Reason.CACHE_ACCESS_DENIED)
    assert words in problem.message


async def test_a_key_outside_the_prefixes_is_refused_by_field(
    caches: RedisCaches, objects: FakeObjects, redis: RedisProcess, client: Connection
) -> None:
    objects.put_backend(redis.port, keyPrefixes=["booking:"])
    spec = a_spec()
    work = VerifyWork("v1", 10)
    await caches.run(KEY, spec, (work,), ())
    facts = await caches.observe(KEY, spec)
    assert facts.problem
    assert facts.problem.reason == Reason.INVALID_SPEC
    assert "cache.families[0].key" in facts.problem.message
    assert "'booking:'" in facts.problem.message
    waiting = facts.work(work.key)
    assert waiting
    assert waiting.problem == facts.problem


async def test_a_wrong_password_is_denied_without_its_bytes_and_a_rotated_one_is_taken_up(
    caches: RedisCaches, objects: FakeObjects, redis: RedisProcess, client: Connection
) -> None:
    await client.call("CONFIG", "SET", "requirepass", "correct-horse")
    objects.put_backend(redis.port, **WITH_LOGIN)
    objects.secrets[SECRET] = {"password": b"wrong-battery"}
    problem = (await caches.observe(KEY, a_spec())).problem
    assert problem
    assert problem.reason == Reason.CACHE_ACCESS_DENIED
    assert "wrong-battery" not in repr(problem)
    objects.secrets[SECRET] = {"password": b"correct-horse"}
    await until(caches, a_spec(), lambda facts: facts.problem is None)


async def test_a_rotation_goes_unnoticed_and_leaves_the_works_running(
    caches: RedisCaches, objects: FakeObjects, redis: RedisProcess, client: Connection
) -> None:
    await fill(client, "v1", 20)
    await client.call("CONFIG", "SET", "requirepass", "first")
    objects.put_backend(redis.port, **WITH_LOGIN)
    objects.secrets[SECRET] = {"password": b"first"}
    spec, work = a_spec(), VerifyWork("v1", 10)
    await caches.run(KEY, spec, (work,), ())
    facts = await until(caches, spec, lambda facts: facts.integrity[0].sampled)
    runner = caches._rollouts[KEY].session
    await client.call("CONFIG", "SET", "requirepass", "second")
    objects.secrets[SECRET] = {"password": b"second"}
    await asyncio.sleep(0.1)  # longer than one health check is believed
    facts = await caches.observe(KEY, spec)
    assert facts.problem is None
    await caches.run(KEY, spec, (work,), ())
    assert caches._rollouts[KEY].session is runner


async def test_a_missing_right_is_denied(
    caches: RedisCaches, objects: FakeObjects, redis: RedisProcess, client: Connection
) -> None:
    await client.call("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+ping", "+hello", "+client")
    objects.put_backend(redis.port, **WITH_LOGIN)
    objects.secrets[SECRET] = {"username": b"poor", "password": b"pw"}
    problem = (await caches.observe(KEY, a_spec())).problem
    assert problem
    assert problem.reason == Reason.CACHE_ACCESS_DENIED


async def test_a_stopped_server_is_unavailable_and_comes_back(
    caches: RedisCaches, redis: RedisProcess
) -> None:
    await until(caches, a_spec(), lambda facts: facts.problem is None)
    redis.stop()
    facts = await caches.observe(KEY, a_spec())
    assert facts.problem, "nothing runs yet, so the very next look decides whether to begin"
    assert facts.problem.reason == Reason.CACHE_UNAVAILABLE
    assert "redis.address" in facts.problem.message
    redis.start()
    await until(caches, a_spec(), lambda facts: facts.problem is None)


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"caSecretName": "ca", "serverName": "redis.test"}, ""),
        ({"caSecretName": "ca"}, "certificate"),
        ({"serverName": "redis.test"}, "certificate"),
    ],
)
async def test_a_certificate_must_be_signed_and_carry_the_name(
    caches: RedisCaches, objects: FakeObjects, redis: RedisProcess, tls: dict[str, Any], words: str
) -> None:
    certificate, key = redis.directory / "tls.crt", redis.directory / "tls.key"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=redis.test",
    ]
    request += ["-addext", "subjectAltName=DNS:redis.test"]
    request += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(request, check=True, capture_output=True)  # noqa: ASYNC221 - nothing else runs
    redis.stop()
    files = f"--tls-cert-file {certificate} --tls-key-file {key} --tls-ca-cert-file {certificate}"
    ports = f"--tls-port {redis.port} --port 0 --tls-auth-clients no"
    redis.start(*files.split(), *ports.split())
    objects.put_backend(redis.port, redis={"tls": {"enabled": True, **tls}})
    objects.secrets[Key("shop", "ca")] = {"ca.crt": certificate.read_bytes()}
    if words:
        reason = Reason.CACHE_ACCESS_DENIED
        facts = await until(
            caches, a_spec(), lambda facts: facts.problem and facts.problem.reason == reason
        )
        assert facts.problem
        assert words in facts.problem.message
    else:
        await until(caches, a_spec(), lambda facts: facts.problem is None)


async def test_a_server_that_accepts_and_says_nothing_costs_two_seconds(
    caches: RedisCaches, objects: FakeObjects
) -> None:
    connections = []
    silent = await asyncio.start_server(
        lambda _, writer: connections.append(writer), "127.0.0.1", 0
    )
    objects.put_backend(silent.sockets[0].getsockname()[1])
    begun_at = time.monotonic()
    problem = (await caches.observe(KEY, a_spec())).problem
    assert time.monotonic() - begun_at < 2.5
    assert problem
    assert problem.reason == Reason.CACHE_UNAVAILABLE
    silent.close()
    for writer in connections:
        writer.close()
        await writer.wait_closed()


async def test_an_api_server_that_is_away_takes_nothing_that_was_known(
    caches: RedisCaches,
    objects: FakeObjects,
    client: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends, "FRESH_SECONDS", 0.0)
    await caches.observe(KEY, a_spec())
    objects.failure = DependencyError(Reason.API_UNAVAILABLE, "the API server does not answer")
    assert (await caches.observe(KEY, a_spec())).problem is None
    objects.failure = DependencyError(Reason.FORBIDDEN, "may not get cachebackends")
    problem = (await caches.observe(KEY, a_spec())).problem
    assert problem
    assert problem.reason == Reason.FORBIDDEN


async def test_a_backend_that_is_taken_away_ends_the_works(
    caches: RedisCaches, objects: FakeObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "FRESH_SECONDS", 0.0)
    spec, work = a_spec(), VerifyWork("v1", 10)
    await caches.run(KEY, spec, (work,), ())
    assert caches._rollouts[KEY].session
    objects.backends.clear()
    await caches.run(KEY, spec, (work,), ())
    assert caches._rollouts[KEY].session is None
    facts = await caches.observe(KEY, spec)
    waiting = facts.work(work.key)
    assert waiting
    assert waiting.problem
    assert waiting.problem.reason == Reason.BACKEND_MISSING
