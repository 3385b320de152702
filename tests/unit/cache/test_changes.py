"""Coalescing and suspicion, and the rules, each against a cache in memory."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cacherollout.cache import changes as changes_module
from cacherollout.cache.changes import Changes
from cacherollout.cache.channels import MirrorChannel
from cacherollout.cache.connections import Command, Page
from cacherollout.cache.errors import OutOfMemoryError
from cacherollout.cache.keys import Family, KeyTemplate, Scope, Writes
from cacherollout.cache.reconciling import Pair, Rule, in_step

USERS = Family("user", KeyTemplate.parse("user:{version}:{id}", ("user:",)))
SCOPE = Scope((USERS,), ("v2", "v3"))
BOTH = ("v2", "v3")
A, B = b"user:v2:1", b"user:v3:1"


def noted(*keys: bytes, open_keys: Sequence[bytes] = (), serving: Sequence[str] = BOTH) -> Changes:
    changes = Changes(SCOPE)
    changes.open(open_keys)
    for key in keys:
        changes.note(key, 1.0, serving)
    return changes


def test_changes_of_one_id_become_one() -> None:
    (change,) = noted(A, A, B).take(10)
    assert change.versions == {"v2", "v3"}
    assert change.pair(BOTH).rule is Rule.BOTH


@pytest.mark.parametrize(("key", "other", "rule"), [(A, B, Rule.ONE), (B, A, Rule.BACK)])
def test_the_changed_key_leads_and_values_flow_from_stable_to_target(
    key: bytes, other: bytes, rule: Rule
) -> None:
    (change,) = noted(key).take(10)
    assert change.pair(BOTH) == Pair(rule, key, other)


def test_the_oldest_changes_are_taken_first() -> None:
    changes = noted(*(b"user:v2:%d" % i for i in range(10)))
    assert [c.id for c in changes.take(3)] == [b"0", b"1", b"2"]
    assert len(changes) == 7
    assert len(changes.take(100)) == 7
    assert changes.take(1) == []


def test_a_push_for_an_open_key_is_suspect() -> None:
    (change,) = noted(B, open_keys=[B]).take(1)
    assert change.is_suspect
    (change,) = noted(A, open_keys=[B]).take(1)
    assert not change.is_suspect


def test_a_push_that_waits_when_its_key_is_opened_becomes_suspect() -> None:
    changes = noted(B)
    changes.open([B])
    assert changes.take(1)[0].is_suspect
    changes = noted(A)
    changes.open([B])
    assert not changes.take(1)[0].is_suspect


def test_a_key_written_while_its_change_is_dealt_with_is_looked_at_once_more() -> None:
    changes = noted(B)
    changes.take(1)
    changes.open([B])
    (change,) = changes.take(1)
    assert change.is_suspect
    assert change.versions == {"v3"}
    changes.take(1)
    changes.open([B])
    assert len(changes) == 0, "dealt with by then"
    changes = noted(A)
    changes.take(1)
    changes.open([B])
    assert len(changes) == 0, "the other side: that is what dealing with it means"


def test_a_key_is_open_until_every_write_to_it_is_closed() -> None:
    changes = noted(open_keys=[B, B])
    changes.close([B])
    changes.note(B, 1.0, BOTH)
    assert changes.take(1)[0].is_suspect
    changes.close([B])
    changes.note(B, 1.0, BOTH)
    assert not changes.take(1)[0].is_suspect


def test_versions_that_do_not_serve_and_foreign_keys_are_not_noted() -> None:
    assert len(noted(B, serving=["v2"])) == 0
    assert len(noted(b"user:v20:1", b"user:v2:", b"other")) == 0


def test_overflow_is_said_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "MAX_PENDING", 3)
    changes = noted(*(b"user:v2:%d" % i for i in range(3)))
    assert not changes.has_overflowed
    changes.note(A, 1.0, BOTH)  # already there
    assert not changes.has_overflowed
    changes.note(b"user:v2:9", 1.0, BOTH)
    assert changes.has_overflowed
    assert len(changes) == 3


@pytest.mark.parametrize(
    ("writes", "keys", "rule"),
    [
        (Writes.INVALIDATE, [A], Rule.FILL),
        (Writes.INVALIDATE, [A, B], Rule.FILL_BOTH),
        (Writes.WRITE_THROUGH, [A], Rule.UPDATE),
        (Writes.WRITE_THROUGH, [A, B], Rule.UPDATE_BOTH),
    ],
)
def test_values_that_cannot_be_copied_have_rules_of_their_own(
    writes: Writes, keys: list[bytes], rule: Rule
) -> None:
    family = Family("user", USERS.template, is_compatible=False, writes=writes)
    changes = Changes(Scope((family,), BOTH))
    for key in keys:
        changes.note(key, 1.0, BOTH)
    assert changes.take(1)[0].pair(BOTH).rule is rule


ALL = Family("user", USERS.template, writes=Writes.INVALIDATE_ALL)


@pytest.mark.parametrize(
    ("keys", "open_keys", "rule"),
    [
        ([A], [], Rule.FLOW),
        ([A, B], [], Rule.FLOW),
        ([B], [], Rule.LEAVE),
        ([A], [A], Rule.ONE),
        ([B], [B], Rule.BACK),
        ([A, B], [B], Rule.BOTH),
    ],
)
def test_where_all_versions_are_deleted_values_flow_and_only_suspicion_removes(
    keys: list[bytes], open_keys: list[bytes], rule: Rule
) -> None:
    changes = Changes(Scope((ALL,), BOTH))
    changes.open(open_keys)
    for key in keys:
        changes.note(key, 1.0, BOTH)
    assert changes.take(1)[0].pair(BOTH).rule is rule


def test_where_all_versions_are_deleted_and_nothing_is_copied_nothing_is_noted() -> None:
    family = Family("user", USERS.template, is_compatible=False, writes=Writes.INVALIDATE_ALL)
    changes = Changes(Scope((family,), BOTH))
    for key in (A, B):
        changes.note(key, 1.0, BOTH)
    assert len(changes) == 0


class Cache:
    """Just enough of a server: keys with a value and a remaining TTL."""

    def __init__(self, **keys: tuple[str, int]) -> None:
        self.keys = {name.encode(): entry for name, entry in keys.items()}
        self.is_full = False
        self.queue: list[Command] | None = None

    def run(self, command: Command) -> Any:
        name, *keys = command
        if name == b"MULTI":
            self.queue = []
            return b"OK"
        if name == b"EXEC":
            queue, self.queue = self.queue, None
            return [self.run(queued) for queued in queue or ()]
        if self.queue is not None:
            self.queue.append(command)
            return b"QUEUED"
        match name:
            case b"COPY":
                return self.copy(*keys)
            case b"EXISTS":
                return sum(key in self.keys for key in keys)
            case b"UNLINK":
                return sum(self.keys.pop(key, None) is not None for key in keys)  # type: ignore[call-overload]
            case b"PTTL":
                return self.keys.get(keys[0], ("", -2))[1]  # type: ignore[call-overload]
            case b"EVALSHA":
                if keys[1] == 1:
                    return self.keys.get(keys[2], b"")  # type: ignore[call-overload]
                one, other = (self.keys.get(key) for key in keys[2:4])  # type: ignore[call-overload]
                is_same = bool(one and other and one[0] == other[0])
                return [int(is_same), int(is_same and one == other), other]
        raise AssertionError(command)

    def copy(self, source: Any, target: Any, replace: bytes = b"") -> Any:
        if self.is_full:
            return OutOfMemoryError("OOM")
        if source not in self.keys or (target in self.keys and not replace):
            return 0
        self.keys[target] = self.keys[source]
        return 1

    def reconcile(self, *pairs: Pair) -> list[int]:
        steps = in_step(pairs)
        try:
            commands = next(steps)
            while True:
                commands = steps.send([self.run(command) for command in commands])
        except StopIteration as end:
            return list(end.value)


V, OLD, NEW = ("v", 100), ("old", 100), ("new", 200)
RULES: dict[str, tuple[dict[str, tuple[str, int]], Pair, dict[str, tuple[str, int]], int]] = {
    "one: filled": ({"a": V}, Pair(Rule.ONE, b"a", b"b"), {"a": V, "b": V}, 1),
    "one: gone": ({"b": V}, Pair(Rule.ONE, b"a", b"b"), {}, -1),
    "one: changed": ({"a": NEW, "b": OLD}, Pair(Rule.ONE, b"a", b"b"), {"a": NEW, "b": NEW}, 1),
    "one: the same already": ({"a": V, "b": V}, Pair(Rule.ONE, b"a", b"b"), {"a": V, "b": V}, 0),
    "one: lives longer": (
        {"a": ("v", 200), "b": V},
        Pair(Rule.ONE, b"a", b"b"),
        {"a": ("v", 200), "b": V},
        0,
    ),
    "one in place: filled": ({"a": V}, Pair(Rule.ONE, b"a", b"b", may_grow=False), {"a": V}, 0),
    "one in place: gone": ({"b": V}, Pair(Rule.ONE, b"a", b"b", may_grow=False), {}, -1),
    "one in place: changed": (
        {"a": NEW, "b": OLD},
        Pair(Rule.ONE, b"a", b"b", may_grow=False),
        {"a": NEW, "b": NEW},
        1,
    ),
    "suspect: our copy": ({"a": V, "b": V}, Pair(Rule.ONE, b"a", b"b", is_suspect=True), {}, -2),
    "suspect: set since": (
        {"a": NEW, "b": OLD},
        Pair(Rule.ONE, b"a", b"b", is_suspect=True),
        {"a": NEW, "b": NEW},
        1,
    ),
    "suspect: set since, equal": (
        {"a": ("v", 150), "b": V},
        Pair(Rule.ONE, b"a", b"b", is_suspect=True),
        {"a": ("v", 150), "b": V},
        0,
    ),
    "suspect: the original gone": (
        {"a": V},
        Pair(Rule.ONE, b"a", b"b", is_suspect=True),
        {},
        -1,
    ),
    "back: filled": ({"a": V}, Pair(Rule.BACK, b"a", b"b"), {"a": V}, 0),
    "back: gone": ({"b": V}, Pair(Rule.BACK, b"a", b"b"), {}, -1),
    "back: changed": ({"a": NEW, "b": OLD}, Pair(Rule.BACK, b"a", b"b"), {"a": NEW}, -1),
    "back: equal": (
        {"a": ("v", 200), "b": V},
        Pair(Rule.BACK, b"a", b"b"),
        {"a": ("v", 200), "b": V},
        0,
    ),
    "back: our copy": ({"a": V, "b": V}, Pair(Rule.BACK, b"a", b"b", is_suspect=True), {}, -2),
    "back: suspect and changed": (
        {"a": NEW, "b": OLD},
        Pair(Rule.BACK, b"a", b"b", is_suspect=True),
        {},
        -2,
    ),
    "both: differ": ({"a": NEW, "b": OLD}, Pair(Rule.BOTH, b"a", b"b"), {}, -2),
    "both: equal": ({"a": V, "b": V}, Pair(Rule.BOTH, b"a", b"b"), {"a": V, "b": V}, 0),
    "both: one gone": ({"a": V}, Pair(Rule.BOTH, b"a", b"b"), {}, -1),
    "both: our copy": ({"a": V, "b": V}, Pair(Rule.BOTH, b"a", b"b", is_suspect=True), {}, -2),
    "flow: filled": ({"a": V}, Pair(Rule.FLOW, b"a", b"b"), {"a": V, "b": V}, 1),
    "flow: filled in place": ({"a": V}, Pair(Rule.FLOW, b"a", b"b", may_grow=False), {"a": V}, 0),
    "flow: changed": ({"a": NEW, "b": OLD}, Pair(Rule.FLOW, b"a", b"b"), {"a": NEW, "b": NEW}, 1),
    "flow: gone": ({"b": V}, Pair(Rule.FLOW, b"a", b"b"), {"b": V}, 0),
    "leave: changed": ({"a": NEW, "b": OLD}, Pair(Rule.LEAVE, b"a", b"b"), {"a": NEW, "b": OLD}, 0),
    "leave: gone": ({"b": V}, Pair(Rule.LEAVE, b"a", b"b"), {"b": V}, 0),
    "fill: filled": ({"a": V, "b": OLD}, Pair(Rule.FILL, b"a", b"b"), {"a": V, "b": OLD}, 0),
    "fill: filled alone": ({"a": V}, Pair(Rule.FILL, b"a", b"b"), {"a": V}, 0),
    "fill: gone": ({"b": OLD}, Pair(Rule.FILL, b"a", b"b"), {}, -1),
    "fill both: other gone": ({"a": V}, Pair(Rule.FILL_BOTH, b"a", b"b"), {}, -1),
    "fill both: there": ({"a": V, "b": V}, Pair(Rule.FILL_BOTH, b"a", b"b"), {"a": V, "b": V}, 0),
    "update": ({"a": V, "b": OLD}, Pair(Rule.UPDATE, b"a", b"b"), {"a": V}, -1),
    "update: not there": ({"a": V}, Pair(Rule.UPDATE, b"a", b"b"), {"a": V}, 0),
    "update both": ({"a": V, "b": OLD}, Pair(Rule.UPDATE_BOTH, b"a", b"b"), {}, -2),
    "gap: older": ({"a": V, "b": V}, Pair(Rule.GAP, b"a", b"b", old_ms=101), {"a": V, "b": V}, 0),
    "gap: younger": ({"a": V, "b": V}, Pair(Rule.GAP, b"a", b"b", old_ms=100), {"a": V}, -1),
    "gap: no TTL": (
        {"a": ("v", -1), "b": V},
        Pair(Rule.GAP, b"a", b"b", old_ms=101),
        {"a": ("v", -1)},
        -1,
    ),
    "gap both: alone": ({"b": V}, Pair(Rule.GAP_BOTH, b"a", b"b", old_ms=101), {}, -1),
    "gap both: other younger": (
        {"a": V, "b": ("v", 200)},
        Pair(Rule.GAP_BOTH, b"a", b"b", old_ms=101),
        {"b": ("v", 200)},
        -1,
    ),
}


@pytest.mark.parametrize("case", RULES)
def test_a_rule(case: str) -> None:
    before, pair, after, outcome = RULES[case]
    cache = Cache(**before)
    assert cache.reconcile(pair) == [outcome]
    assert cache.keys == Cache(**after).keys


def test_a_full_server_loses_the_outdated_value_instead_of_keeping_it() -> None:
    cache = Cache(a=NEW, b=OLD)
    cache.is_full = True
    assert cache.reconcile(Pair(Rule.ONE, b"a", b"b")) == [-2]
    assert cache.keys == {}


def test_pairs_go_in_step_and_keep_their_outcomes() -> None:
    cache = Cache(a=V, c=OLD, e=NEW, f=OLD)
    pairs = [
        Pair(Rule.ONE, b"a", b"b"),
        Pair(Rule.ONE, b"x", b"c"),
        Pair(Rule.FILL, b"e", b"y"),
        Pair(Rule.ONE, b"e", b"f"),
    ]
    assert cache.reconcile(*pairs) == [1, -1, 0, 1]
    assert cache.reconcile() == []


class Wire:
    """A connection whose replies the test gives, one page at a time."""

    def __init__(self) -> None:
        self.pages: list[tuple[Sequence[Command], Page]] = []

    def submit(self, commands: Sequence[Command]) -> Page:
        page = Page(asyncio.get_running_loop().create_future(), len(commands), 0.0)
        self.pages.append((commands, page))
        return page

    async def answer(self) -> None:
        commands, page = self.pages.pop(0)
        page.future.set_result([1] * len(commands))
        await asyncio.sleep(0)


async def test_a_copied_key_stays_open_until_a_round_trip_after_its_reply() -> None:
    """Redis sends a reply before the pushes of the same turn: the reply alone proves nothing."""
    changes, wire = Changes(SCOPE), Wire()
    channel = MirrorChannel(wire, changes)  # type: ignore[arg-type]

    def is_open() -> bool:
        changes.note(B, 1.0, BOTH)
        return changes.take(1)[0].is_suspect

    channel.submit([(b"COPY", A, B)])
    assert is_open()
    await wire.answer()
    assert is_open()
    assert wire.pages[0][0] == [(b"PING",)]
    await wire.answer()
    assert not is_open()


class Meddler(Cache):
    """A server on which something happens right before a command."""

    def __init__(self, before: bytes, happens: dict[bytes, tuple[str, int] | None]) -> None:
        super().__init__()
        self.before, self.happens = before, happens

    def run(self, command: Command) -> Any:
        if command[0] == self.before and self.queue is None:
            for key, entry in self.happens.items():
                self.keys.pop(key, None)
                if entry is not None:
                    self.keys[key] = entry
            self.happens = {}
        return super().run(command)


@pytest.mark.parametrize(
    ("before", "happens", "after"),
    [
        pytest.param(b"COPY", {b"b": ("c", 9)}, {"a": NEW, "b": ("c", 9)}, id="filled meanwhile"),
        pytest.param(b"COPY", {b"a": None}, {}, id="gone meanwhile"),
    ],
)
def test_a_key_is_only_created_where_there_is_none(
    before: bytes, happens: dict[bytes, Any], after: dict[str, Any]
) -> None:
    cache = Meddler(before, happens)
    cache.keys = {b"a": NEW}
    assert cache.reconcile(Pair(Rule.ONE, b"a", b"b")) == [0]
    assert cache.keys == Cache(**after).keys


@pytest.mark.parametrize("rule", [Rule.ONE, Rule.BACK, Rule.UPDATE])
@pytest.mark.parametrize("happened", [None, ("newer", 300)])
def test_a_key_that_changed_since_it_was_looked_at_takes_both_along(
    rule: Rule, happened: Any
) -> None:
    """The change may never be pushed: our own write in the same turn of the server hides it."""
    cache = Meddler(b"MULTI", {b"b": happened})
    cache.keys = {b"a": NEW, b"b": OLD}
    cache.reconcile(Pair(rule, b"a", b"b"))
    assert cache.keys == {}
