"""Changes that were pushed and wait to be mirrored: coalesced by id, bounded, and aware of us.

Pushes for our own writes do not come (NOLOOP), but pushes for the application's writes to a key
that we are just writing do, and may tell of something that our write has undone. From the moment
such a write is sent until a round trip begun after its reply has ended, the key is *open*: the
server has by then delivered every push for what happened before the write. A push for an open key
makes the change *suspect*. In a cluster a copy may cross from one primary to another: a push for its
source may come, and be dealt with, before the copy lands. Such a change is noted once more when the
key that was copied onto is closed. Pure; knows no server and no clock.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from cacherollout.cache.keys import Family, Scope, Writes, key_of
from cacherollout.cache.reconciling import Pair, Rule

MAX_PENDING: Final = 100_000
"""More waiting ids than this are no longer tracked singly; the mirror repairs everything."""


@dataclass(slots=True)
class Change:
    """An id that changed under one version or under both.

    Attributes:
        family: Whose id it is.
        id: The id.
        versions: The versions under which it changed.
        is_suspect: Whether a changed key was open.
        noted_at: When the first push for it came.

    """

    family: Family
    id: bytes
    versions: set[str]
    is_suspect: bool
    noted_at: float

    def pair(
        self, versions: tuple[str, str], *, may_grow: bool = True, is_clustered: bool = False
    ) -> Pair:
        """The id's keys under the two `versions`, stable first, and how to reconcile them."""
        changed, other = versions if versions[0] in self.versions else versions[::-1]
        is_both = len(self.versions) == 2
        if self.family.writes is Writes.INVALIDATE_ALL and not self.is_suspect:
            rule = Rule.FLOW if versions[0] in self.versions else Rule.LEAVE
        elif self.family.is_compatible:
            rule = Rule.BOTH if is_both else Rule.ONE if changed == versions[0] else Rule.BACK
        elif self.family.writes is Writes.WRITE_THROUGH:
            rule = Rule.UPDATE_BOTH if is_both else Rule.UPDATE
        else:
            rule = Rule.FILL_BOTH if is_both else Rule.FILL
        return Pair(
            rule,
            key_of(self.family, changed, self.id),
            key_of(self.family, other, self.id),
            is_suspect=self.is_suspect,
            may_grow=may_grow,
            is_clustered=is_clustered,
        )


class Changes:
    """The changes that wait. Not more than `MAX_PENDING`; after that, `has_overflowed`."""

    def __init__(
        self, scope: Scope, *, is_clustered: bool = False, wake: Callable[[], None] | None = None
    ) -> None:
        """`wake` is called when something waits that no push announces."""
        self._scope = scope
        self._is_clustered = is_clustered
        self._wake = wake
        self._pending: OrderedDict[tuple[str, bytes], Change] = OrderedDict()
        self._taken: dict[tuple[str, bytes], Change] = {}
        self._open: Counter[bytes] = Counter()
        self._again: dict[bytes, tuple[bytes, float, frozenset[str]]] = {}
        """By open key: the push for its counterpart that is to be noted once more."""
        self.has_overflowed = False

    def __len__(self) -> int:
        return len(self._pending)

    def note(self, key: bytes, now: float, serving: Collection[str]) -> None:
        """Take in a push for `key`.

        Only changes under versions that serve are the application's; what is written or removed
        under another (a warm-up, a retirement, an expiry) says nothing about the data.
        """
        match = self._scope.match(key)
        if match is None or match.version not in serving or not match.family.is_mirrored:
            return
        is_suspect = key in self._open
        if self._is_clustered:
            for version in self._scope.versions:
                counterpart = match.under(version)
                if counterpart != key and counterpart in self._open:
                    self._again.setdefault(counterpart, (key, now, frozenset(serving)))
        name = (match.family.name, match.id)
        change = self._pending.get(name)
        if change is not None:
            change.versions.add(match.version)
            change.is_suspect |= is_suspect
        elif len(self._pending) >= MAX_PENDING:
            self.has_overflowed = True
        else:
            self._pending[name] = Change(
                match.family, match.id, {match.version}, is_suspect, noted_at=now
            )

    def take(self, count: int) -> list[Change]:
        """Remove and return up to `count` changes, oldest first; those taken before are dealt with."""
        pending = self._pending
        taken = [pending.popitem(last=False) for _ in range(min(count, len(pending)))]
        self._taken = dict(taken)
        return [change for _, change in taken]

    def open(self, keys: Iterable[bytes]) -> None:
        """Say that `keys` are about to be written by us; do so before sending the commands."""
        for key in keys:
            self._open[key] += 1
            match = self._scope.match(key)
            if match is None:
                continue
            name = (match.family.name, match.id)
            change = self._pending.get(name)
            if change is not None and match.version in change.versions:
                change.is_suspect = True  # pushed before our write, and not looked at yet
            change = self._taken.get(name)
            if change is not None and match.version in change.versions:
                # Being dealt with, by what was there before our write: look once more.
                self.note(key, change.noted_at, change.versions)

    def close(self, keys: Iterable[bytes]) -> None:
        """Say that all pushes for what came before those writes have been delivered."""
        for key in keys:
            self._open[key] -= 1
            if self._open[key] <= 0:
                del self._open[key]
                again = self._again.pop(key, None)
                if again is not None:
                    self.note(*again)
                    if self._wake is not None:
                        self._wake()
