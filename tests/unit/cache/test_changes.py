"""Coalescing and suspicion, and the rules, each against a cache in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cacherollout.cache import changes as changes_module
from cacherollout.cache.changes import Changes
from cacherollout.cache.channels import MirrorChannel
from cacherollout.cache.connections import Command, Page
from cacherollout.cache.crossings import crossing
from cacherollout.cache.errors import OutOfMemoryError, SplitError, TakenError
from cacherollout.cache.keys import Family, KeyTemplate, Scope, Writes
from cacherollout.cache.lockstep import in_step
from cacherollout.cache.reconciling import _PRINT_SHA, Pair, Rule
from cacherollout.cache.slots import keys_of, slot_of

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
            case b"EXISTS":
                return sum(key in self.keys for key in keys)
            case b"UNLINK":
                return sum(self.keys.pop(key, None) is not None for key in keys)  # type: ignore[call-overload]
            case b"PTTL" | b"PEXPIRETIME":
                return self.keys.get(keys[0], ("", -2))[1]  # type: ignore[call-overload]
            case b"DUMP":
                return self.keys.get(keys[0])  # type: ignore[call-overload]
            case b"EVALSHA":
                return self.look(*keys)
        return self.write(name, *keys)

    def look(self, script: Any, count: Any, *keys: Any) -> Any:
        found = [self.keys.get(key) for key in keys]
        if script == _PRINT_SHA:
            return [*(found[0] or ("", 0)), 1]
        if count == 1:
            return found[0][0] if found[0] else b""
        one, other = found
        is_same = bool(one and other and one[0] == other[0])
        return [int(is_same), int(is_same and one == other), other and other[0]]

    def write(self, name: Any, *keys: Any) -> Any:
        match name:
            case b"COPY":
                return self.copy(*keys)
            case b"RESTORE":
                target, _, entry, *options = keys
                if target in self.keys and b"REPLACE" not in options:
                    return TakenError("BUSYKEY")
                self.keys[target] = entry
                return b"OK"
        raise AssertionError(name)

    def copy(self, source: Any, target: Any, replace: bytes = b"") -> Any:
        if self.is_full:
            return OutOfMemoryError("OOM")
        if source not in self.keys or (target in self.keys and not replace):
            return 0
        self.keys[target] = self.keys[source]
        return 1

    def reconcile(self, *pairs: Pair) -> list[int]:
        steps = in_step([pair.steps() for pair in pairs])
        try:
            commands = next(steps)
            while True:
                commands = steps.send([self.run(command) for command in commands])
        except StopIteration as end:
            return list(end.value)


class Clustered(Cache):
    """Two keys of one command may be on two servers; then it is said key by key, or never said."""

    def run(self, command: Command) -> Any:
        if len({slot_of(key) for key in keys_of(command)}) <= 1:
            return super().run(command)
        assert self.queue is None, "a transaction across primaries"
        conversation = crossing(command)
        commands = next(conversation)
        try:
            while True:
                commands = conversation.send([self.run(each) for each in commands])
        except StopIteration as end:
            return end.value


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


@pytest.mark.parametrize("case", RULES)
def test_a_rule_comes_to_the_same_across_primaries(case: str) -> None:
    assert slot_of(b"a") != slot_of(b"b")
    before, pair, after, outcome = RULES[case]
    cache = Clustered(**before)
    assert cache.reconcile(replace(pair, is_clustered=True)) == [outcome]
    assert cache.keys == Cache(**after).keys


def test_keys_of_one_slot_stay_with_one_command_until_their_slot_moves() -> None:
    class Moving(Clustered):
        def run(self, command: Command) -> Any:
            is_split = command[0] == b"EVALSHA" and command[2] == 2
            return SplitError("TRYAGAIN") if is_split else super().run(command)

    pair = Pair(Rule.BOTH, b"{x}a", b"{x}b", is_clustered=True)
    for cache in (Clustered(), Moving()):
        cache.keys = {b"{x}a": V, b"{x}b": V}
        assert not pair.is_apart
        assert cache.reconcile(pair) == [0]


@pytest.mark.parametrize("is_clustered", [False, True])
def test_a_push_dealt_with_while_a_copy_was_crossing_is_noted_once_more(
    is_clustered: bool,
) -> None:
    woken: list[bool] = []
    changes = Changes(SCOPE, is_clustered=is_clustered, wake=lambda: woken.append(True))
    changes.open([B])  # the value of A is on its way to B
    changes.note(A, 1.0, BOTH)
    changes.take(1)
    changes.close([B])
    again = changes.take(1)
    assert bool(again) == bool(woken) == is_clustered, "on one server a copy takes no time"
    if again:
        assert (again[0].versions, again[0].noted_at) == ({"v2"}, 1.0)
        changes.open([B])
        changes.close([B])
        assert not changes.take(1), "once"


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

    def peers(self) -> Sequence["Wire"]:
        return (self,)

    async def answer(self) -> None:
        commands, page = self.pages.pop(0)
        page.future.set_result([1] * len(commands))
        for _ in range(3):  # what waits for the page, and what waits for that
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "write", [(b"COPY", A, B), (b"RESTORE", B, 0, b"value", b"ABSTTL")], ids=lambda c: c[0].decode()
)
async def test_a_copied_key_stays_open_until_a_round_trip_after_its_reply(write: Command) -> None:
    """Redis sends a reply before the pushes of the same turn: the reply alone proves nothing."""
    changes, wire = Changes(SCOPE), Wire()
    channel = MirrorChannel(wire, changes)  # type: ignore[arg-type]

    def is_open() -> bool:
        changes.note(B, 1.0, BOTH)
        return changes.take(1)[0].is_suspect

    channel.submit([write])
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


class ClusteredMeddler(Meddler, Clustered):
    """The same across primaries."""


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
@pytest.mark.parametrize("is_clustered", [False, True])
def test_a_key_that_changed_since_it_was_looked_at_takes_both_along(
    rule: Rule, happened: Any, is_clustered: bool
) -> None:
    """The change may never be pushed: our own write in the same turn of the server hides it."""
    cache = (ClusteredMeddler if is_clustered else Meddler)(b"MULTI", {b"b": happened})
    cache.keys = {b"a": NEW, b"b": OLD}
    cache.reconcile(Pair(rule, b"a", b"b", is_clustered=is_clustered))
    assert cache.keys == {}
