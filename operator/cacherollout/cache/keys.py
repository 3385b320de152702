"""How cache keys are spelled, and which key belongs to which version of which family.

A template such as ``booking:{version}:list:{id}`` splits a key into a *head* (everything before
the id, with the version filled in) and a *tail* (everything after it). A key belongs to a version
if it starts with the head, ends with the tail and has at least one byte of id between them. Heads
end in a literal delimiter that no version may contain, so ``v1`` never takes keys of ``v10``.
Ids are arbitrary bytes. Nothing here talks to a server.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Self

from cacherollout.cache.errors import TemplateError

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_VERSION_BYTES: Final = re.compile(rb"[A-Za-z0-9._-]")
_VERSION_OF: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,62}(?![A-Za-z0-9._-])")
_GLOB: Final = re.compile(rb"[*?\[\]\\]")
_MIN_PREFIX_BYTES: Final = 3
_MAX_TEMPLATE_BYTES: Final = 512


def check_version(version: str) -> str:
    """Return `version` if it may stand in a key, else raise `TemplateError`."""
    if not _VERSION.fullmatch(version):
        raise TemplateError(
            f"version {version[:64]!r}: use 1 to 63 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return version


def escape_glob(literal: bytes) -> bytes:
    r"""Escape ``* ? [ ] \`` so that SCAN MATCH takes `literal` literally."""
    return _GLOB.sub(rb"\\\g<0>", literal)


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A parsed template: ``prefix + version + middle + id + tail``.

    Attributes:
        prefix: The literal bytes before the version, e.g. ``b"user:"``.
        middle: The literal bytes between version and id, e.g. ``b":"``; never empty.
        tail: The literal bytes after the id, often empty.

    """

    prefix: bytes
    middle: bytes
    tail: bytes

    @classmethod
    def parse(cls, text: str, allowed_prefixes: Sequence[str]) -> Self:
        """Parse ``user:{version}:{id}``; raise `TemplateError` if it could reach foreign keys.

        A literal hash tag is written around the id: ``user:{version}:{{id}}`` gives
        ``user:v2:{42}``.
        """
        if text.count("{version}") != 1 or text.count("{id}") != 1:
            raise TemplateError(f"key {text!r}: needs {{version}} once and {{id}} once")
        if len(text.encode()) > _MAX_TEMPLATE_BYTES:
            raise TemplateError(f"key {text[:64]!r}…: at most {_MAX_TEMPLATE_BYTES} bytes")
        before, _, after = text.partition("{version}")
        if "{id}" in before:
            raise TemplateError(f"key {text!r}: {{version}} must come before {{id}}")
        middle, _, tail = after.partition("{id}")
        template = cls(before.encode(), middle.encode(), tail.encode())
        if not middle or _VERSION_BYTES.match(template.middle):
            raise TemplateError(
                f"key {text!r}: put a delimiter such as ':' right after {{version}}, "
                "or v1 would also match keys of v10"
            )
        if len(template.prefix) < _MIN_PREFIX_BYTES:
            raise TemplateError(
                f"key {text!r}: needs at least {_MIN_PREFIX_BYTES} bytes before {{version}}"
            )
        if not any(p and template.prefix.startswith(p.encode()) for p in allowed_prefixes):
            allowed = ", ".join(repr(p) for p in allowed_prefixes) or "none"
            raise TemplateError(f"key {text!r}: must begin with an allowed prefix ({allowed})")
        return template

    def head(self, version: str) -> bytes:
        """Everything before the id, e.g. ``b"user:v2:"``."""
        return self.prefix + check_version(version).encode() + self.middle


class Writes(StrEnum):
    """How an application changes cached data; decides what a SET means to the mirror."""

    INVALIDATE = "Invalidate"
    """Cache-aside: a change deletes the key, a SET is a fill."""
    INVALIDATE_ALL = "InvalidateAll"
    """The same, and one command deletes the keys of both versions: an absence says nothing."""
    WRITE_THROUGH = "WriteThrough"
    """A change overwrites the key; every SET may be one."""


class Codec(StrEnum):
    """How values are encoded, as far as the engine can judge them."""

    JSON = "json"
    """A string holding one JSON document."""
    RAW = "raw"
    """Opaque; only presence and TTL can be judged."""


@dataclass(frozen=True, slots=True)
class Family:
    """Cached values of one kind, under one key template.

    Attributes:
        name: How reports and progress call it.
        template: How its keys are spelled.
        is_compatible: Whether both versions read each other's bytes, so values may be copied.
        writes: What a SET by the application means.
        ttl_seconds: The shortest full TTL that the application gives, jitter included; None if
            unknown. Lets a repair tell values that are surely older than a gap.
        codec: How `Verify` decodes values.
        required: Top-level JSON fields without which a value is corrupt.

    """

    name: str
    template: KeyTemplate
    is_compatible: bool = True
    writes: Writes = Writes.INVALIDATE
    ttl_seconds: float | None = None
    codec: Codec = Codec.JSON
    required: tuple[str, ...] = ()

    @property
    def is_mirrored(self) -> bool:
        """Whether changes under one version mean anything for the other's keys."""
        return self.is_compatible or self.writes is not Writes.INVALIDATE_ALL


class Match(NamedTuple):
    """A key, taken apart."""

    key: bytes
    family: Family
    version: str
    id: bytes

    def under(self, version: str) -> bytes:
        """The same id's key under another version."""
        return self.family.template.head(version) + self.id + self.family.template.tail


def key_of(family: Family, version: str, identifier: bytes) -> bytes:
    """The key of `identifier` under `version`."""
    return family.template.head(version) + identifier + family.template.tail


@dataclass(frozen=True, slots=True)
class Scope:
    """Which keys an operation may touch: some families by some versions, and nothing else.

    Where templates overlap (``user:{version}:{id}`` and ``user:{version}:list:{id}``) a key belongs
    to the template with the most literal bytes. Pass *all* declared families as `others` where an
    operation works on a subset, so that a broad template does not take a narrow one's keys.
    """

    families: tuple[Family, ...]
    versions: tuple[str, ...]
    others: tuple[Family, ...] = ()
    _rules: tuple[tuple[bytes, bytes, int, int | None, int, Family, str, bool], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check versions and names, and put the most specific rule first."""
        names = [family.name for family in self.families]
        if len(set(names)) != len(names):
            raise TemplateError(f"families: names must differ, got {', '.join(names)}")
        if len({family.template for family in self.families}) != len(names):
            raise TemplateError(f"families {', '.join(names)}: two have the same key template")
        if not names or not self.versions:
            raise TemplateError("scope: needs at least one family and one version")
        rules = {
            (family.template.head(version), family.template.tail): (family, version, is_ours)
            for group, is_ours in ((self.others, False), (self.families, True))
            for family in group
            for version in self.versions
        }
        ordered = sorted(rules.items(), key=lambda rule: -len(rule[0][0] + rule[0][1]))
        object.__setattr__(
            self,
            "_rules",
            tuple(
                (h, t, len(h), -len(t) or None, len(h) + len(t), *target)
                for (h, t), target in ordered
            ),
        )

    def match(self, key: bytes) -> Match | None:
        """Take `key` apart if it lies in this scope. O(families * versions)."""
        found = self.matches((key,))
        return found[0] if found else None

    def matches(self, keys: Iterable[bytes]) -> list[Match]:
        """Those of `keys` that lie in this scope, taken apart, in order."""
        found = []
        for key in keys:
            for head, tail, begin, end, literal, family, version, is_ours in self._rules:
                if key.startswith(head) and len(key) > literal and key.endswith(tail):
                    if is_ours:
                        found.append(Match(key, family, version, key[begin:end]))
                    break
        return found

    @property
    def pattern(self) -> bytes:
        """A SCAN MATCH pattern that takes every key of this scope; re-check each with `match`."""
        heads = [f.template.head(v) for f in self.families for v in self.versions]
        tails = {f.template.tail for f in self.families}
        tail = tails.pop() if len(tails) == 1 else b""
        return escape_glob(_common_prefix(heads)) + b"*" + escape_glob(tail)


@dataclass(frozen=True, slots=True)
class OpenScope:
    """Like `Scope`, but of whatever versions there are: for looking around, never for writing.

    What counts as the version is the longest run of bytes that a version may have; templates put a
    delimiter right behind it, so it is unambiguous. Overlapping templates as in `Scope`.
    """

    families: tuple[Family, ...]

    def matches(self, keys: Iterable[bytes]) -> list[Match]:
        """Those of `keys` that lie in this scope, taken apart, in order. O(families) a key."""
        found = []
        for key in keys:
            candidates = [match for f in self.families if (match := _take_apart(f, key))]
            if candidates:
                found.append(min(candidates, key=lambda match: len(match.id)))
        return found

    @property
    def pattern(self) -> bytes:
        """A SCAN MATCH pattern that takes every key of this scope; re-check with `matches`."""
        return escape_glob(_common_prefix([f.template.prefix for f in self.families])) + b"*"


def _take_apart(family: Family, key: bytes) -> Match | None:
    template = family.template
    if not key.startswith(template.prefix) or not key.endswith(template.tail):
        return None
    version = _VERSION_OF.match(key, len(template.prefix))
    if version is None or not key.startswith(template.middle, version.end()):
        return None
    begin, end = version.end() + len(template.middle), len(key) - len(template.tail)
    if begin >= end:
        return None
    return Match(key, family, version.group().decode(), key[begin:end])


def _common_prefix(strings: Sequence[bytes]) -> bytes:
    low, high = min(strings), max(strings)
    for index, byte in enumerate(low):
        if index >= len(high) or high[index] != byte:
            return low[:index]
    return low
