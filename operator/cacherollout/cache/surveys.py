"""Survey: how many keys and bytes each version of each family holds, and how full the server is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cacherollout.cache.errors import TemplateError
from cacherollout.cache.facts import Memory, ServerFacts, probe, sum_memories
from cacherollout.cache.feeds import Feed, SampleFeed, ScanFeed
from cacherollout.cache.keys import Family, Match, OpenScope, Scope
from cacherollout.cache.limits import Limits
from cacherollout.cache.servers import Server
from cacherollout.cache.sweeps import Steps, Sweep

_WEIGH_FIRST: Final = 200
_WEIGH_EVERY: Final = 16
"""MEMORY USAGE costs 9 µs a key: weigh the first few of a namespace, then one in sixteen."""

_MAX_VERSIONS: Final = 1000
"""Where a template finds more versions than this, what it takes for versions are ids."""

_Namespace = tuple[str, str]


@dataclass(frozen=True, slots=True)
class NamespaceSurvey:
    """One version of one family.

    Attributes:
        family: Its name.
        version: Its version.
        keys: How many keys; a few may be counted twice while the server resizes its table.
        bytes: What they take in memory, estimated from those weighed.
        keys_without_ttl: How many never expire.
        weighed: How many the estimate rests on.
        longest_ttl_seconds: The longest time that a key has left; None where none expires.

    """

    family: str
    version: str
    keys: int
    bytes: int
    keys_without_ttl: int
    weighed: int
    longest_ttl_seconds: float | None = None

    @property
    def bytes_per_key(self) -> float:
        """Mean size; 0 when nothing was weighed."""
        return self.bytes / self.keys if self.keys else 0.0


@dataclass(frozen=True, slots=True)
class SurveyReport:
    """Every version of every family asked for, empty ones included, and the servers' memory.

    `memory` adds up `memories`, which has one for each primary.
    """

    namespaces: tuple[NamespaceSurvey, ...]
    memory: Memory
    memories: tuple[Memory, ...] = ()

    def of(self, family: str, version: str) -> NamespaceSurvey:
        """One namespace; KeyError if it was not asked for."""
        for namespace in self.namespaces:
            if (namespace.family, namespace.version) == (family, version):
                return namespace
        raise KeyError((family, version))


@dataclass(slots=True)
class _Tally:
    keys: Counter[_Namespace] = field(default_factory=Counter)
    immortal: Counter[_Namespace] = field(default_factory=Counter)
    weighed: Counter[_Namespace] = field(default_factory=Counter)
    weight: Counter[_Namespace] = field(default_factory=Counter)
    longest_ms: dict[_Namespace, int] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    """Of each server process; a cluster's may be walked over twice."""
    seen: set[bytes] = field(default_factory=set)
    """Keys of a sample; empty where every key is looked at."""


class Survey(Sweep[_Tally, SurveyReport]):
    """Count and weigh namespaces. Reads only.

    Costs about 2 µs of server time a key in scope and 0.7 µs for every other key. With
    `examine_at_most` it looks at that many keys, from a random place, and extrapolates. With
    `versions` None it reports those it finds, each family's in alphabetical order, and raises
    `TemplateError` beyond 1000 of them; memory is O(families * versions).
    """

    def __init__(
        self,
        server: Server,
        families: Sequence[Family],
        versions: Sequence[str] | None,
        limits: Limits | None = None,
        *,
        examine_at_most: int | None = None,
    ) -> None:
        asked = Scope(tuple(families), ("any",) if versions is None else tuple(versions))
        scope = OpenScope(asked.families) if versions is None else asked
        self._versions = None if versions is None else asked.versions
        super().__init__(server, scope, limits or Limits(), _Tally())
        self._examine_at_most = examine_at_most

    def _feed(self) -> Feed:
        if self._examine_at_most is None:
            return ScanFeed(self._scope.pattern)
        return SampleFeed(self._scope.pattern)

    def _steps(self, matches: Sequence[Match]) -> Steps:
        tally = self._tally
        matches = self._new(matches)
        if not matches:
            return
        to_weigh = []
        for index, match in enumerate(matches):
            place = tally.keys[match.family.name, match.version] + index
            if place < _WEIGH_FIRST or place % _WEIGH_EVERY == 0:
                to_weigh.append(match)
        replies = yield [
            *[(b"PTTL", match.key) for match in matches],
            *[(b"MEMORY", b"USAGE", match.key) for match in to_weigh],
        ]
        self._remember(matches)
        for match, ttl in zip(matches, replies, strict=False):
            namespace = match.family.name, match.version
            tally.keys[namespace] += 1
            tally.immortal[namespace] += ttl == -1
            if ttl > tally.longest_ms.get(namespace, 0):
                tally.longest_ms[namespace] = ttl
        for match, weight in zip(to_weigh, replies[len(matches) :], strict=True):
            if weight is not None:  # it may have expired meanwhile
                tally.weighed[match.family.name, match.version] += 1
                tally.weight[match.family.name, match.version] += weight

        self._check_versions(matches)

    def _new(self, matches: Sequence[Match]) -> Sequence[Match]:
        """Without those met before: a sample of a small database goes around it twice."""
        if self._examine_at_most is None:
            return matches
        seen = self._tally.seen
        return list({match.key: match for match in matches if match.key not in seen}.values())

    def _remember(self, matches: Sequence[Match]) -> None:
        if self._examine_at_most is not None:
            self._tally.seen.update(match.key for match in matches)

    def _check_versions(self, matches: Sequence[Match]) -> None:
        if self._versions is None and len(self._tally.keys) > _MAX_VERSIONS:
            raise TemplateError(
                f"the key templates find over {_MAX_VERSIONS} versions, such as "
                f"{matches[-1].version!r}: what stands in the place of {{version}} are ids; "
                "correct the templates, or name the versions"
            )

    def _arrive(self, facts: ServerFacts) -> None:
        self._tally.memories[facts.run_id] = facts.memory

    def _has_enough(self) -> bool:
        return self._examine_at_most is not None and self._meter.examined >= self._examine_at_most

    def _report(self) -> SurveyReport:
        tally = self._tally
        scale = 1.0
        if self._examine_at_most is not None and self._meter.examined:
            scale = max(1.0, self._meter.keyspace / self._meter.examined)
        return SurveyReport(
            namespaces=tuple(
                NamespaceSurvey(
                    family=family.name,
                    version=version,
                    keys=round(tally.keys[name] * scale),
                    bytes=round(
                        scale * tally.keys[name] * tally.weight[name] / max(1, tally.weighed[name])
                    ),
                    keys_without_ttl=round(tally.immortal[name] * scale),
                    weighed=tally.weighed[name],
                    longest_ttl_seconds=(
                        tally.longest_ms[name] / 1000 if name in tally.longest_ms else None
                    ),
                )
                for family in self._scope.families
                for version in self._versions_of(family)
                for name in [(family.name, version)]
            ),
            memory=sum_memories([*tally.memories.values()]),
            memories=tuple(tally.memories.values()),
        )

    def _versions_of(self, family: Family) -> Sequence[str]:
        if self._versions is not None:
            return self._versions
        return sorted(version for name, version in self._tally.keys if name == family.name)


async def glance(
    server: Server,
    families: Sequence[Family],
    versions: Sequence[str],
    limits: Limits | None = None,
    *,
    examine_at_most: int = 20_000,
) -> SurveyReport:
    """Survey without taking long: exact where the database is small, else from a sample of it.

    Costs at most `examine_at_most` keys looked at; errors as in `Sweep.run`.
    """
    is_small = (await probe(server)).keys <= examine_at_most
    survey = Survey(
        server, families, versions, limits, examine_at_most=None if is_small else examine_at_most
    )
    return await survey.run()
