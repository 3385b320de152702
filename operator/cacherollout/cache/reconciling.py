"""What one changed key means for its counterpart: the rules of the mirror.

A push message says *that* a key changed, never how, and arrives after the fact. So every rule looks
at the keys as they are now. What makes acting on such a look safe:

- Removing both keys is always right: a miss costs warmth, never freshness.
- The server does not push a change at all if, in the same turn of its loop, our own connection
  writes the key after it; that is how NOLOOP works there. So a key is only created where none was at
  the look before, and where one is written over or removed alone, the same transaction tells what
  was there: if that is not what was looked at, both keys go.
- A copy that lands after a change which it should have seen is found out by `changes`, whose
  suspicion the rules take up.

Each rule is a generator for one pair of keys: commands out, replies in, the outcome at the end (a
positive number for a copy, minus n for n keys removed); see `lockstep`. Scripts only look: what they write is pushed to us like anybody's.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from cacherollout.cache.connections import Command, Reply
from cacherollout.cache.errors import SplitError
from cacherollout.cache.lockstep import Conversation
from cacherollout.cache.slots import slot_of

Outcome = int
PairSteps = Conversation[Outcome]

_COMPARE: Final = b"""
local function dump(key) return redis.call('DUMP', key) end
local function ttl(key) return redis.call('PTTL', key) end
if redis.call('EXISTS', KEYS[1], KEYS[2]) < 2 then return {0, 0, ''} end
local other = dump(KEYS[2])
local is_same = dump(KEYS[1]) == other
local is_string = redis.call('TYPE', KEYS[1])['ok'] == 'string'
local is_copy = math.abs(ttl(KEYS[1]) - ttl(KEYS[2])) <= 1 and (is_same or not is_string)
return {is_same and 1 or 0, is_copy and 1 or 0, redis.sha1hex(other)}
"""
_PRINT: Final = b"""
local value = redis.call('DUMP', KEYS[1])
if not value then return {'', 0, 0} end
local is_string = redis.call('TYPE', KEYS[1])['ok'] == 'string'
return {redis.sha1hex(value), redis.call('PEXPIRETIME', KEYS[1]), is_string and 1 or 0}
"""
_DIGEST: Final = b"""
local value = redis.call('DUMP', KEYS[1])
return value and redis.sha1hex(value) or ''
"""


def _sha(script: bytes) -> bytes:
    return hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()


_COMPARE_SHA: Final = _sha(_COMPARE)
_DIGEST_SHA: Final = _sha(_DIGEST)
_PRINT_SHA: Final = _sha(_PRINT)
_ABSENT: Final = -2
"""What PTTL replies for a key that is not there."""
_ALIKE_MS: Final = 20
"""A slot's move carries a key over with the time it has left, so its expiry shifts a little."""
LOAD: Final[tuple[Command, ...]] = (
    (b"SCRIPT", b"LOAD", _COMPARE),
    (b"SCRIPT", b"LOAD", _DIGEST),
    (b"SCRIPT", b"LOAD", _PRINT),
)
"""What a connection must run before it runs rules."""


class Rule(StrEnum):
    """How to reconcile a pair."""

    ONE = "One"
    """The stable side changed, and values may be copied to the target."""
    BACK = "Back"
    """The target side changed: its values never reach the stable version, its removals do."""
    BOTH = "Both"
    """Both sides changed, in an order nobody knows, and values may be copied."""
    FLOW = "Flow"
    """The stable side changed, values may be copied, and whoever deletes deletes both keys."""
    LEAVE = "Leave"
    """The same, but only the target side changed."""
    FILL = "Fill"
    """One side changed, values cannot be copied, and a SET is a fill."""
    FILL_BOTH = "FillBoth"
    """The same for both sides."""
    UPDATE = "Update"
    """One side changed, values cannot be copied, and a SET may be an update."""
    UPDATE_BOTH = "UpdateBoth"
    """The same for both sides."""
    GAP = "Gap"
    """Values cannot be copied, and changes of the first side may have been missed."""
    GAP_BOTH = "GapBoth"
    """The same for both sides."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two keys of one id, and what is known about them.

    Attributes:
        rule: How to reconcile them.
        changed: The key that changed; under the BOTH rules either of the two.
        other: Its counterpart.
        is_suspect: Whether the application may have changed `changed` before a write of ours.
        may_grow: Whether a copy may be made where there is none yet; False when memory is short.
        is_clustered: Whether the keys may lie on different primaries.
        old_ms: For the GAP rules: a remaining TTL below it proves a value older than the gap.

    """

    rule: Rule
    changed: bytes
    other: bytes
    is_suspect: bool = False
    may_grow: bool = True
    is_clustered: bool = False
    old_ms: int = 0

    @property
    def is_apart(self) -> bool:
        """Whether no one command may name both keys."""
        return self.is_clustered and slot_of(self.changed) != slot_of(self.other)

    def steps(self) -> PairSteps:
        """Reconcile."""
        match self.rule:
            case Rule.ONE:
                return _suspect(self) if self.is_suspect else _one(self)
            case Rule.BACK:
                return _back(self)
            case Rule.BOTH:
                return _both(self)
            case Rule.FLOW:
                return _flow(self)
            case Rule.LEAVE:
                return _leave()
            case Rule.FILL | Rule.FILL_BOTH:
                return _fill(self)
            case Rule.UPDATE:
                return _remove_other(self)
            case Rule.UPDATE_BOTH:
                return _remove(self.changed, self.other)
            case Rule.GAP | Rule.GAP_BOTH:
                return _gap(self)
            case _:
                assert_never(self.rule)


def destination(command: Command) -> bytes | None:
    """The key onto which a command may copy another, if any."""
    match command:
        case (b"COPY", _, bytes(target), *_) | (b"RESTORE", bytes(target), *_):
            return target
        case _:
            return None


def _remove(*keys: bytes) -> PairSteps:
    (removed,) = yield [(b"UNLINK", *keys)]
    return -int(removed)


def _remove_other(pair: Pair) -> PairSteps:
    """Remove the other, or both if somebody changed the other meanwhile."""
    (seen,) = yield [(b"EVALSHA", _DIGEST_SHA, 1, pair.other)]
    if not seen:
        return 0
    removed = yield from _unless_changed(pair.other, seen, (b"UNLINK", pair.other))
    return -1 if removed == 1 else (yield from _remove(pair.changed, pair.other))


def _one(pair: Pair) -> PairSteps:
    """Gone: remove the other. There: bring the other up to it."""
    is_there, is_other_there = yield [(b"EXISTS", pair.changed), (b"EXISTS", pair.other)]
    if not is_there:
        return (yield from _remove(pair.changed, pair.other)) if is_other_there else 0
    return (yield from _bring_up(pair, is_other_there=bool(is_other_there)))


def _bring_up(pair: Pair, *, is_other_there: bool) -> PairSteps:
    if is_other_there:
        is_same, _, seen = yield from _compare(pair)
        return 0 if is_same else (yield from _replace(pair, seen))
    if not pair.may_grow:
        return 0
    (copied,) = yield [(b"COPY", pair.changed, pair.other)]
    return int(copied == 1)  # if not: changed meanwhile, which was pushed; or out of memory


def _flow(pair: Pair) -> PairSteps:
    """There: bring the other up to it. Gone: it expired, or its deletion took the other along.

    Nothing that was deleted comes back: a copy takes what is there in the same turn of the server,
    and after one command has deleted both keys there is nothing to take.
    """
    is_there, is_other_there = yield [(b"EXISTS", pair.changed), (b"EXISTS", pair.other)]
    if not is_there:
        return 0
    return (yield from _bring_up(pair, is_other_there=bool(is_other_there)))


def _leave() -> PairSteps:
    """What the target stores or loses says nothing about the stable version's value."""
    yield []
    return 0


def _back(pair: Pair) -> PairSteps:
    """Equal values are both right; otherwise the stable copy may be outdated, and goes.

    A new version that stores broken values costs the stable one warmth, never correctness. Where
    our own copy may have undone an application's change of the target, nobody knows: both go.
    """
    is_same, is_copy, _ = yield from _compare(pair)
    if is_same and not (is_copy and pair.is_suspect):
        return 0
    (is_there,) = yield [(b"EXISTS", pair.changed)]
    if pair.is_suspect or not is_there:
        return (yield from _remove(pair.changed, pair.other))
    return (yield from _remove_other(pair))


def _suspect(pair: Pair) -> PairSteps:
    """We wrote `changed`, and the application changed it, before or after.

    If our copy is what is there, the application's change came before and was undone by it: a
    value that it had removed lives again. A copy is told by its bytes and its expiry, which COPY
    takes over to the millisecond; by its expiry alone for other types than strings, whose members
    a copy may hold in another order. Otherwise the application's value is there, newer than ours.
    """
    is_there, is_other_there = yield [(b"EXISTS", pair.changed), (b"EXISTS", pair.other)]
    if is_there and is_other_there:
        is_same, is_copy, seen = yield from _compare(pair)
        if not is_copy:
            return 0 if is_same else (yield from _replace(pair, seen))
    return (yield from _remove(pair.changed, pair.other))


def _both(pair: Pair) -> PairSteps:
    """Equal values are both right, unless one is the application's undone by our copy."""
    is_same, is_copy, _ = yield from _compare(pair)
    if is_same and not (is_copy and pair.is_suspect):
        return 0
    return (yield from _remove(pair.changed, pair.other))


def _fill(pair: Pair) -> PairSteps:
    """An absence is a removal, or an expiry, and counts; a presence does not."""
    is_there, is_other_there = yield [(b"EXISTS", pair.changed), (b"EXISTS", pair.other)]
    is_gone = not is_there or (pair.rule is Rule.FILL_BOTH and not is_other_there)
    if is_gone and (is_there or is_other_there):
        return (yield from _remove(pair.changed, pair.other))
    return 0


def _gap(pair: Pair) -> PairSteps:
    """What may have been refilled during the gap may have been removed in it: its other goes."""
    ttl, other_ttl = yield [(b"PTTL", pair.changed), (b"PTTL", pair.other)]
    is_old, is_other_old = 0 <= ttl < pair.old_ms, 0 <= other_ttl < pair.old_ms
    if pair.rule is Rule.GAP_BOTH and ttl != _ABSENT and not is_other_old:
        return (yield from _remove(pair.changed, *([] if is_old else [pair.other])))
    return 0 if is_old else (yield from _remove_other(pair))


def _compare(pair: Pair) -> Conversation[tuple[bool, bool, bytes]]:
    """Whether values are equal, whether one may be a copy of the other, what the other is."""
    if not pair.is_apart:
        (verdict,) = yield [(b"EVALSHA", _COMPARE_SHA, 2, pair.changed, pair.other)]
        if not isinstance(verdict, SplitError):  # their slot is on the move, and they are apart
            is_same, is_copy, seen = verdict
            return bool(is_same), bool(is_copy), seen
    one, other = yield [(b"EVALSHA", _PRINT_SHA, 1, key) for key in (pair.changed, pair.other)]
    if not one[0] or not other[0]:
        return False, False, b""
    are_same = one[0] == other[0]
    do_expire_alike = abs(one[1] - other[1]) <= _ALIKE_MS
    return are_same, do_expire_alike and (are_same or not one[2]), other[0]


def _replace(pair: Pair, seen: bytes) -> PairSteps:
    """Copy over the other; remove both if somebody changed either meanwhile, or memory is out."""
    copy: Command = (b"COPY", pair.changed, pair.other, b"REPLACE")
    if pair.is_apart:
        expires_at_ms, value = yield [(b"PEXPIRETIME", pair.changed), (b"DUMP", pair.changed)]
        if value is None or expires_at_ms == _ABSENT:
            return (yield from _remove(pair.changed, pair.other))
        ttl = max(0, expires_at_ms)
        copy = (b"RESTORE", pair.other, ttl, value, b"ABSTTL", b"REPLACE")
    copied = yield from _unless_changed(pair.other, seen, copy)
    return 1 if copied in (1, b"OK") else (yield from _remove(pair.changed, pair.other))


def _unless_changed(key: bytes, seen: bytes, write: Command) -> Conversation[Reply]:
    """Run `write`; its reply, or None if `key` was not what was seen before, or it was refused."""
    *_, done = yield [(b"MULTI",), (b"EVALSHA", _DIGEST_SHA, 1, key), write, (b"EXEC",)]
    if not isinstance(done, list):
        return None
    was, outcome = done
    return outcome if was == seen else None
