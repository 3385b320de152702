"""The checklist as a whole: every item once, and what the findings add up to."""

from dataclasses import replace

import pytest

from cacherollout.core.checklist import CAP, Checklist, check, refuse
from cacherollout.core.readiness import POINTS, Item, Seen, Unseen, listed
from tests.unit.core.sightings import (
    FAILED,
    OBSERVED,
    OK,
    seen,
    with_ledger,
    with_target,
    with_user,
)


def test_points_make_a_hundred_and_every_item_is_there_once() -> None:
    assert sum(point.points for point in POINTS.values()) == 100
    assert [each.name for each in check(seen()).items] == list(POINTS)


@pytest.mark.parametrize(
    "what",
    [
        seen(observed=replace(OBSERVED, target=None, pods=())),
        with_ledger(stable=None),
        seen(cache=Unseen("x"), measurements=Unseen("y"), prefixes=Unseen("z")),
    ],
    ids=["no target", "not adopted", "nothing reachable"],
)
def test_every_item_is_there_whatever_was_seen(what: Seen) -> None:
    assert [each.name for each in check(what).items] == list(POINTS)


def test_everything_in_order_is_a_hundred() -> None:
    found = check(seen())
    assert [each for each in found.items if each.outcome is not OK] == []
    assert found.score == 100


def test_what_was_not_looked_at_earns_nothing() -> None:
    found = check(seen(cache=Unseen("no route")))
    lost = ("access", "versionsKey", "keys", "values", "ttl", "memory")
    assert found.score == 100 - sum(POINTS[name].points for name in lost)


def test_a_warning_keeps_half_of_its_points() -> None:
    assert check(seen(cache=with_user(keys_without_ttl=10))).score == 100 - POINTS["ttl"].points / 2


def test_a_failure_that_stops_a_rollout_caps_the_score() -> None:
    found = check(with_target(is_paused=False))
    assert found.score == CAP
    assert [each.name for each in found.stoppers] == ["hold"]


def test_a_failure_that_stops_nothing_does_not_cap() -> None:
    found = Checklist(tuple(Item(name, FAILED if name == "canary" else OK, "") for name in POINTS))
    assert found.score == 100 - POINTS["canary"].points


def test_a_spec_that_cannot_be_acted_upon_fails_alone() -> None:
    found = refuse("spec.cache: wrong")
    assert [each.name for each in found.items] == list(POINTS)
    assert [each.message for each in found.with_outcome(FAILED)] == ["spec.cache: wrong"]
    assert found.score == 0


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
    ],
)
def test_lists_are_read_aloud(names: list[str], text: str) -> None:
    assert listed(names) == text
