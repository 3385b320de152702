"""Keys, values, times to live, memory and rights: each finding by itself."""

from dataclasses import replace

import pytest

from cacherollout.core.cache_checks import amount
from cacherollout.core.readiness import FamilyStock, Outcome, Seen, Unseen
from tests.unit.core.sightings import (
    CHANGED,
    FAILED,
    MIB,
    OK,
    ORDERS,
    STOCK,
    UNSEEN,
    USER,
    WARNING,
    a_spec,
    item,
    seen,
    with_user,
)

CASES: list[tuple[str, str, Seen, Outcome, str]] = [
    (
        "a right is missing",
        "access",
        seen(cache=replace(STOCK, families=(), missing_rights=("COPY on user:*",))),
        FAILED,
        "COPY on user:*",
    ),
    ("the cache is out of reach", "access", seen(cache=Unseen("no route")), UNSEEN, "no route"),
    ("the cache is down", "access", seen(cache=Unseen("down", is_failure=True)), FAILED, "down"),
    (
        "a versions key that can be written",
        "versionsKey",
        seen(),
        OK,
        "app:versions can be written",
    ),
    (
        "a versions key that cannot be written",
        "versionsKey",
        seen(cache=replace(STOCK, versions_key_trouble="lacks SET; grant it")),
        FAILED,
        "lacks SET; grant it",
    ),
    (
        "a versions key nobody looked at",
        "versionsKey",
        seen(cache=Unseen("no route")),
        UNSEEN,
        "see access",
    ),
    (
        "deletes that reach one version only",
        "versionsKey",
        seen(spec=a_spec(versions_key=None)),
        WARNING,
        "user and orders: a delete under one version reaches no value that only the other",
    ),
    (
        "no deletes at all",
        "versionsKey",
        seen(
            spec=a_spec(
                versions_key=None,
                families=[{**USER, "writes": "WriteThrough"}, {**ORDERS, "writes": "WriteThrough"}],
            )
        ),
        OK,
        "no family is deleted on write",
    ),
    ("keys in every family", "keys", seen(), OK, "1,500 keys of v2"),
    (
        "a family without keys",
        "keys",
        seen(cache=with_user(keys=0)),
        WARNING,
        "user has no key of v2, such as user:v2:{id}",
    ),
    (
        "no keys at all",
        "keys",
        seen(cache=replace(STOCK, families=(FamilyStock("user"), FamilyStock("orders")))),
        FAILED,
        "no family has a key",
    ),
    (
        "nothing else was looked at",
        "keys",
        seen(cache=replace(STOCK, families=(), missing_rights=("INFO",))),
        UNSEEN,
        "see access",
    ),
    ("usable values", "values", seen(), OK, "400 of 400"),
    (
        "a few unusable values",
        "values",
        seen(cache=with_user(corrupt=2, example="2 lack 'id'")),
        WARNING,
        "2 of 200",
    ),
    (
        "many unusable values",
        "values",
        seen(cache=with_user(corrupt=40, example="40 lack 'id'")),
        FAILED,
        "40 lack 'id'",
    ),
    (
        "unusable values of a family that changes anyway",
        "values",
        seen(spec=a_spec(families=CHANGED), cache=with_user(corrupt=200)),
        OK,
        "200 of 200 sampled values decode and carry their fields (user: new schema",
    ),
    (
        "no values",
        "values",
        seen(cache=replace(STOCK, families=(FamilyStock("user"), FamilyStock("orders")))),
        UNSEEN,
        "no values of v2",
    ),
    ("keys expire", "ttl", seen(), OK, "all 1,500 keys expire"),
    (
        "keys without a TTL",
        "ttl",
        seen(cache=with_user(keys_without_ttl=10)),
        WARNING,
        "1 % of the keys of user never expire",
    ),
    (
        "keys that live longer than declared",
        "ttl",
        seen(cache=with_user(longest_ttl_seconds=3_500.0)),
        WARNING,
        "user declares ttl: 300s, but its longest is 3500 s",
    ),
    (
        "keys that live shorter than declared",
        "ttl",
        seen(cache=with_user(longest_ttl_seconds=60.0)),
        WARNING,
        "grows cold",
    ),
    (
        "too few keys to tell that they live shorter",
        "ttl",
        seen(cache=with_user(keys=3, longest_ttl_seconds=60.0)),
        OK,
        "all 503 keys",
    ),
    (
        "no keys to expire",
        "ttl",
        seen(cache=replace(STOCK, families=(FamilyStock("user"), FamilyStock("orders")))),
        UNSEEN,
        "no keys",
    ),
    (
        "keys that are scattered by half",
        "ttl",
        seen(cache=with_user(longest_ttl_seconds=450.0)),
        OK,
        "within the declared times",
    ),
    (
        "a family without keys has no times",
        "ttl",
        seen(cache=with_user(keys=0, longest_ttl_seconds=None)),
        OK,
        "all 500 keys",
    ),
    ("room for a copy", "memory", seen(), OK, "3.0 MiB more are needed and 70.0 MiB are left"),
    (
        "a shared version needs no room",
        "memory",
        seen(spec=a_spec("OnSchemaChange")),
        OK,
        "0 bytes more",
    ),
    (
        "too little room",
        "memory",
        seen(cache=replace(STOCK, headroom_bytes=MIB)),
        FAILED,
        "1.0 MiB",
    ),
    (
        "above the ceiling already",
        "memory",
        seen(cache=replace(STOCK, headroom_bytes=-MIB)),
        FAILED,
        "0 bytes are left",
    ),
    (
        "scarce room",
        "memory",
        seen(cache=replace(STOCK, headroom_bytes=int(3.5 * MIB))),
        WARNING,
        "make room before",
    ),
    (
        "the gate would hold",
        "memory",
        seen(cache=replace(STOCK, used_bytes=89 * MIB)),
        FAILED,
        "at 90 % the gate redisMemory holds",
    ),
    (
        "no limit",
        "memory",
        seen(cache=replace(STOCK, limit_bytes=None, headroom_bytes=None)),
        WARNING,
        "no maxmemory",
    ),
]


@pytest.mark.parametrize(
    ("name", "what", "outcome", "said"),
    [pytest.param(*case[1:], id=f"{case[1]}: {case[0]}") for case in CASES],
)
def test_an_item_says_what_was_found(name: str, what: Seen, outcome: Outcome, said: str) -> None:
    found = item(name, what)
    assert said in found.message
    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"),
     (5 << 50, "5120.0 TiB")],
)  # fmt: skip
def test_bytes_are_read_in_a_unit(size: int, text: str) -> None:
    assert amount(size) == text
