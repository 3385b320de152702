"""Verify: sample stored values and judge them as the application's next reader would."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cacherollout.cache.errors import WrongTypeError
from cacherollout.cache.feeds import Feed, SampleFeed
from cacherollout.cache.keys import Codec, Family, Match, Scope
from cacherollout.cache.limits import Limits
from cacherollout.cache.servers import Server
from cacherollout.cache.sweeps import Steps, Sweep

_MAX_VALUE_BYTES: Final = 1024 * 1024
"""Larger values are not fetched: decoding one would hold up the event loop."""


@dataclass(frozen=True, slots=True)
class FamilyVerdict:
    """What a sample of one family's values looks like.

    Attributes:
        family: Its name.
        sampled: Values judged.
        undecodable: Not what the codec promises, another Redis type included.
        incomplete: Decodable, but at least one required field is missing.
        without_ttl: Keys that never expire; not counted as corrupt.
        oversized: Values above 1 MiB, which are counted but not judged.
        missing: How often each required field was missing.

    """

    family: str
    sampled: int
    undecodable: int
    incomplete: int
    without_ttl: int
    oversized: int
    missing: Mapping[str, int]

    @property
    def corrupt(self) -> int:
        """Values that a reader could not use."""
        return self.undecodable + self.incomplete


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A verdict on every family."""

    families: tuple[FamilyVerdict, ...]


@dataclass(slots=True)
class _Findings:
    seen: set[bytes] = field(default_factory=set)
    sampled: int = 0
    undecodable: int = 0
    incomplete: int = 0
    immortal: int = 0
    oversized: int = 0
    missing: Counter[str] = field(default_factory=Counter)


class Verify(Sweep[dict[str, _Findings], VerifyReport]):
    """Judge up to `sample` values of each family under `version`, beginning at a random place.

    A family with fewer keys is judged whole. Walks on until every family has its sample or the
    keyspace ends, or `examine_at_most` keys were looked at: a family of few keys would otherwise
    cost a walk over everything. Reads only; values never leave this class.
    """

    def __init__(
        self,
        server: Server,
        families: Sequence[Family],
        *,
        version: str,
        sample: int = 200,
        limits: Limits | None = None,
        examine_at_most: int | None = None,
    ) -> None:
        if sample < 1:
            raise ValueError("sample: must be at least 1")
        findings = {family.name: _Findings() for family in families}
        super().__init__(server, Scope(tuple(families), (version,)), limits or Limits(), findings)
        self._sample = sample
        self._examine_at_most = examine_at_most

    def _feed(self) -> Feed:
        return SampleFeed(self._scope.pattern)

    def _has_enough(self) -> bool:
        if self._examine_at_most is not None and self._meter.examined >= self._examine_at_most:
            return True
        return all(findings.sampled >= self._sample for findings in self._tally.values())

    def _steps(self, matches: Sequence[Match]) -> Steps:
        wanted = self._wanted(matches)
        if not wanted:
            return
        replies = yield [
            *[(b"PTTL", match.key) for match in wanted],
            *[(b"STRLEN", match.key) for match in wanted],
        ]
        to_read: list[tuple[Match, int]] = []
        for match, ttl, size in zip(
            wanted, replies[: len(wanted)], replies[len(wanted) :], strict=True
        ):
            if ttl == -2:  # expired meanwhile
                continue
            findings = self._tally[match.family.name]
            findings.seen.add(match.key)
            findings.immortal += ttl == -1
            if match.family.codec is Codec.RAW:
                findings.sampled += 1
            elif isinstance(size, WrongTypeError):
                findings.sampled += 1
                findings.undecodable += 1
            elif size > _MAX_VALUE_BYTES:
                findings.oversized += 1
            else:
                to_read.append((match, size))
        for group in _in_groups(to_read):
            values = yield [(b"GET", match.key) for match in group]
            for match, value in zip(group, values, strict=True):
                self._judge(match.family, value)

    def _wanted(self, matches: Sequence[Match]) -> list[Match]:
        room = {name: self._sample - found.sampled for name, found in self._tally.items()}
        wanted: dict[bytes, Match] = {}
        for match in matches:
            name = match.family.name
            if room[name] > 0 and not (match.key in wanted or match.key in self._tally[name].seen):
                wanted[match.key] = match
                room[name] -= 1
        return list(wanted.values())

    def _judge(self, family: Family, value: bytes | WrongTypeError | None) -> None:
        if value is None:  # expired meanwhile
            return
        findings = self._tally[family.name]
        findings.sampled += 1
        document = None if isinstance(value, WrongTypeError) else _decode(value)
        if document is None:
            findings.undecodable += 1
            return
        if not family.required:
            return
        present = document[0] if isinstance(document[0], dict) else {}
        missing = [name for name in family.required if name not in present]
        findings.incomplete += bool(missing)
        findings.missing.update(missing)

    def _report(self) -> VerifyReport:
        return VerifyReport(
            tuple(
                FamilyVerdict(
                    family=name,
                    sampled=found.sampled,
                    undecodable=found.undecodable,
                    incomplete=found.incomplete,
                    without_ttl=found.immortal,
                    oversized=found.oversized,
                    missing=dict(found.missing),
                )
                for name, found in self._tally.items()
            )
        )


def _decode(value: bytes) -> tuple[object] | None:
    """A JSON document, in a tuple to tell ``null`` from no document."""
    try:
        return (json.loads(value),)
    except (ValueError, RecursionError):
        return None


def _in_groups(sized: Sequence[tuple[Match, int]]) -> Iterator[list[Match]]:
    """Groups whose values make at most 1 MiB, so that neither memory nor the loop is held."""
    group: list[Match] = []
    room = _MAX_VALUE_BYTES
    for match, size in sized:
        if group and size > room:
            yield group
            group, room = [], _MAX_VALUE_BYTES
        group.append(match)
        room -= size
    if group:
        yield group
