"""Copy: fill one version's namespace from another's, inside the server.

COPY is atomic and, without REPLACE, never overwrites: what the target's application wrote stays. It
keeps the remaining TTL to the millisecond, so copies age like their originals and no echo of
expiries follows. While both versions take writes, run it over `Mirror.server`: only then can a
deletion that races with a copy not leave the deleted value behind.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cacherollout.cache.connections import Command
from cacherollout.cache.errors import OutOfMemoryError, TemplateError
from cacherollout.cache.facts import Memory, ServerFacts, read_facts, tightest
from cacherollout.cache.keys import Family, Match, Scope
from cacherollout.cache.limits import Limits
from cacherollout.cache.servers import Channel, Server
from cacherollout.cache.surveys import Survey
from cacherollout.cache.sweeps import Steps, Sweep

_ESTIMATE_KEYS: Final = 5_000
_TABLE_BYTES: Final = 64
"""What a key costs beside MEMORY USAGE: its places in the key table and in the expiry table."""
_RECHECK_SECONDS: Final = 0.1
_RECHECK_SHARE: Final = 4
"""Look at memory again when a quarter of the headroom may be used up, so ever more often."""


@dataclass(frozen=True, slots=True)
class CopyCounts:
    """What became of one family's keys.

    Attributes:
        family: Its name.
        copied: Copied now.
        kept: Not copied: the target had the key already, or the source's key was gone by then.
        without_ttl: Source keys that never expire; their copies do not either.
        bytes: What the copied take in memory, estimated.

    """

    family: str
    copied: int
    kept: int
    without_ttl: int
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Counts of every compatible family."""

    families: tuple[CopyCounts, ...]


@dataclass(slots=True)
class _Tally:
    copied: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    immortal: Counter[str] = field(default_factory=Counter)


class Copy(Sweep[_Tally, CopyReport]):
    """Copy the compatible families' keys from `source` to `target`, never over a newer value.

    `is_target_serving` says that applications write to the target by now. Then each page looks first,
    and leaves alone what was there a moment ago: the application's deletion of a key and a COPY onto
    it, in the same turn of the server, would reach the mirror as nothing at all.

    `is_dry_run` counts what would be copied and writes nothing: it looks at the same keys at the same
    pace, and raises the same `HeadroomError` before it begins.

    Pass every declared family: incompatible ones are left out, and their keys are never taken for
    those of a broader template. Costs about 4 µs of server time a key. Running it again copies only
    what is missing.

    Raises (besides what `Sweep.run` raises):
        HeadroomError: The estimate does not fit below the memory ceiling, or, on the way, memory
            ran up to it; what is copied by then stays.
        OutOfMemoryError: The server refused a copy for want of memory.
    """

    def __init__(
        self,
        server: Server,
        families: Sequence[Family],
        *,
        source: str,
        target: str,
        is_target_serving: bool = False,
        is_dry_run: bool = False,
        limits: Limits | None = None,
    ) -> None:
        if source == target:
            raise TemplateError(f"target: must differ from source, both are {source!r}")
        compatible = tuple(family for family in families if family.is_compatible)
        others = tuple(family for family in families if not family.is_compatible)
        if not compatible:
            raise TemplateError("families: none is compatible, so none may be copied")
        scope = Scope(compatible, (source,), others)
        super().__init__(server, scope, limits or Limits(), _Tally())
        self._is_target_serving = is_target_serving
        self._is_dry_run = is_dry_run
        self._source = source
        self._target = target
        self._target_heads = {family.name: family.template.head(target) for family in compatible}
        self._key_bytes: dict[str, float] = {}
        self._has_immortal_keys = True
        self._memory: Memory | None = None
        self._unchecked_bytes = 0.0
        self._checked_at = float("-inf")

    async def _prepare(self) -> None:
        families, versions = self._scope.families, (self._source, self._target)
        survey = await Survey(
            self._server, families, versions, self._limits, examine_at_most=_ESTIMATE_KEYS
        ).run()
        missing_bytes = 0.0
        for family in families:
            source = survey.of(family.name, self._source)
            missing = max(0, source.keys - survey.of(family.name, self._target).keys)
            self._key_bytes[family.name] = source.bytes_per_key + _TABLE_BYTES
            missing_bytes += missing * self._key_bytes[family.name]
        self._meter.expected = sum(survey.of(f.name, self._source).keys for f in families)
        # A cluster spreads keys evenly; where it does not, the looks on the way find out.
        share = round(missing_bytes / max(1, len(survey.memories)))
        for memory in survey.memories:
            memory.require(share, self._limits.memory_ceiling_percent)

    def _arrive(self, facts: ServerFacts) -> None:
        self._has_immortal_keys = facts.has_immortal_keys
        self._memory = facts.memory

    def _steps(self, matches: Sequence[Match]) -> Steps:
        if not matches:
            return
        tally, heads = self._tally, self._target_heads
        targets = [
            heads[family.name] + identifier + family.template.tail
            for _, family, _, identifier in matches
        ]
        if self._is_target_serving or self._is_dry_run:
            present = yield [(b"EXISTS", key) for key in targets]
            tally.kept.update(m.family.name for m, p in zip(matches, present, strict=True) if p)
            targets = [key for key, p in zip(targets, present, strict=True) if not p]
            matches = [match for match, p in zip(matches, present, strict=True) if not p]
        copies: list[Command] = [
            (b"EXISTS", match.key) if self._is_dry_run else (b"COPY", match.key, key)
            for match, key in zip(matches, targets, strict=True)
        ]
        ttls = [(b"PTTL", match.key) for match in matches] if self._has_immortal_keys else []
        replies = yield [*copies, *ttls]
        copied = Counter[str]()
        for match, is_copied in zip(matches, replies, strict=False):
            if is_copied == 1:
                copied[match.family.name] += 1
            elif isinstance(is_copied, OutOfMemoryError):
                raise is_copied
            else:
                tally.kept[match.family.name] += 1
        tally.copied += copied
        self._unchecked_bytes += sum(n * self._key_bytes[name] for name, n in copied.items())
        self._meter.bytes = round(
            sum(count * self._key_bytes[name] for name, count in tally.copied.items())
        )
        for match, ttl in zip(matches, replies[len(matches) :], strict=False):
            tally.immortal[match.family.name] += ttl == -1

    async def _between(self, channel: Channel) -> None:
        if self._is_dry_run:
            return
        now = asyncio.get_running_loop().time()
        ceiling = self._limits.memory_ceiling_percent
        if self._memory is not None and now - self._checked_at < _RECHECK_SECONDS:
            headroom = self._memory.headroom_bytes(ceiling)
            if headroom is None or self._unchecked_bytes * _RECHECK_SHARE < headroom:
                return
        found = [await read_facts(peer) for peer in channel.peers()]
        self._has_immortal_keys = any(facts.has_immortal_keys for facts in found)
        self._memory = tightest([facts.memory for facts in found], ceiling)
        self._unchecked_bytes = 0.0
        self._checked_at = now
        next_page = self._limits.page_keys * max(self._key_bytes.values())
        self._memory.require(round(next_page), ceiling)

    def _report(self) -> CopyReport:
        tally = self._tally
        return CopyReport(
            tuple(
                CopyCounts(
                    f.name,
                    copied=tally.copied[f.name],
                    kept=tally.kept[f.name],
                    without_ttl=tally.immortal[f.name],
                    bytes=round(tally.copied[f.name] * self._key_bytes[f.name]),
                )
                for f in self._scope.families
            )
        )
