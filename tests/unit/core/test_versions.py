"""Who states the version wins, and no number is ever used twice."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacherollout.core.versions import (
    MAX_LENGTH,
    Wanted,
    is_same,
    is_usable,
    next_version,
    wanted_release,
)
from tests.factories import FAMILY, RELEASE, STABLE, spec, target

CHANGED = spec({**FAMILY, "schemaVersion": "2"}, version="OnSchemaChange")
WANTED = {
    "nothing new": (spec(), target(), None),
    "a new template": (spec(), target(revision="rev-b"), Wanted("rev-b", None)),
    "the template states a version": (
        spec(),
        target(revision="rev-b", stated_version="v9"),
        Wanted("rev-b", "v9", is_stated_by_template=True),
    ),
    "the template states the stable version": (
        spec(),
        target(revision="rev-b", stated_version="v1"),
        Wanted("rev-b", "v1", is_stated_by_template=True),
    ),
    "the stable template states its version": (spec(), target(stated_version="v1"), None),
    "the spec states a version": (spec(version="v5"), target(), Wanted("rev-a", "v5")),
    "the spec states the stable version": (spec(version="v1"), target(), None),
    "the template wins over the spec": (
        spec(version="v5"),
        target(revision="rev-b", stated_version="v9"),
        Wanted("rev-b", "v9", is_stated_by_template=True),
    ),
    "no schema changed": (
        spec(version="OnSchemaChange"),
        target(revision="rev-b"),
        Wanted("rev-b", "v1"),
    ),
    "a schema changed": (CHANGED, target(revision="rev-b"), Wanted("rev-b", None)),
    "a schema changed, but no template": (CHANGED, target(), None),
}


@pytest.mark.parametrize("case", WANTED)
def test_what_is_wanted(case: str) -> None:
    asked, facts, wanted = WANTED[case]
    assert wanted_release(asked, STABLE, facts) == wanted


def test_an_allotted_version_is_whatever_it_became() -> None:
    assert is_same(Wanted("rev-b", None), RELEASE)
    assert is_same(Wanted("rev-b", "v2"), RELEASE)
    assert not is_same(Wanted("rev-b", "v3"), RELEASE)
    assert not is_same(Wanted("rev-c", None), RELEASE)
    assert not is_same(Wanted("rev-b", None), replace(RELEASE, revision="rev-a"))


@pytest.mark.parametrize(
    ("used", "stable", "version"),
    [
        ((), "v1", "v2"),
        (("v1", "v2", "v7"), "v2", "v8"),
        (("w9",), "v1", "v2"),
        ((), "blue", "blue-1"),
        (("blue-1",), "blue", "blue-2"),
        ((), "2026.07", "2026.8"),
        ((), "v9", "v10"),
        ((), "7", "8"),
        (("v1000000000",), "v999999999", "v1000000001"),
        ((), "v" + "9" * 31, "v" + "9" * 21 + "1"),
        ((), "x" * 32, "x" * 22 + "1"),
        ((), "v" + "9" * 9, "v" + "1" + "0" * 9),
    ],
)
def test_the_next_version_is_spelled_like_the_stable_one(
    used: tuple[str, ...], stable: str, version: str
) -> None:
    assert next_version(used, stable) == version


VERSIONS = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?", fullmatch=True)


@given(
    first=VERSIONS,
    others=st.lists(VERSIONS, max_size=5),
    moves=st.lists(st.booleans(), max_size=20),
)
def test_no_number_is_allotted_twice(first: str, others: list[str], moves: list[bool]) -> None:
    used, stable = (first, *others), first
    for is_promoted in moves:
        version = next_version(used, stable)
        assert version not in used
        assert is_usable(version)
        used = (*used, version)
        stable = version if is_promoted else stable


@pytest.mark.parametrize(
    "version", ["", "V3", "v*", "v3:", "a b", "-v", "v.", "é", "v" * 33, "v\n"]
)
def test_what_cannot_be_part_of_keys_is_not_usable(version: str) -> None:
    assert not is_usable(version)


@pytest.mark.parametrize("version", ["v1", "1", "2026-07-01", "a.b_c-d", "v" * MAX_LENGTH])
def test_what_can_is(version: str) -> None:
    assert is_usable(version)
