"""Which release is wanted: whoever states a cache version wins, and no number is used twice."""

import re
from dataclasses import dataclass
from typing import Final

from cacherollout.api.ledger import Release
from cacherollout.api.rollout import AUTO, LITERAL_PATTERN, ON_SCHEMA_CHANGE, CacheRolloutSpec
from cacherollout.core.facts import TargetFacts

_NUMBERED: Final = re.compile(r"^(.*?)(\d{1,9})$")
_LITERAL: Final = re.compile(LITERAL_PATTERN)
MAX_LENGTH: Final = 32
"""Of a version, as the schema of the spec has it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The release that the target's template and the spec ask for.

    `version` None: the operator allots one when the attempt begins.
    """

    revision: str
    version: str | None
    is_stated_by_template: bool = False


def wanted_release(spec: CacheRolloutSpec, stable: Release, target: TargetFacts) -> Wanted | None:
    """What is asked for, where it differs from the stable release; None where it does not."""
    stated = stated_version(spec, target)
    is_new_template = target.revision != stable.revision
    if stated is not None:
        if not is_new_template and stated == stable.version:
            return None
        return Wanted(target.revision, stated, is_stated_by_template=bool(target.stated_version))
    if not is_new_template:
        return None
    if spec.cache.version == ON_SCHEMA_CHANGE and spec.fingerprints() == stable.fingerprints:
        return Wanted(target.revision, stable.version)
    return Wanted(target.revision, None)


def stated_version(spec: CacheRolloutSpec, target: TargetFacts) -> str | None:
    """The version that somebody asked for literally: in the template, else in the spec."""
    if target.stated_version is not None:
        return target.stated_version
    if spec.cache.version not in (AUTO, ON_SCHEMA_CHANGE):
        return spec.cache.version
    return None


def is_same(wanted: Wanted, release: Release) -> bool:
    """Whether a release is what is wanted; an allotted version is whatever it became."""
    return wanted.revision == release.revision and wanted.version in (None, release.version)


def next_version(used: tuple[str, ...], stable: str) -> str:
    """The next number never used before, spelled like the stable version (`v2` gives `v3`)."""
    match = _NUMBERED.match(stable)
    stem = match.group(1) if match else f"{stable}-"
    stem = stem[: MAX_LENGTH - 10]
    taken = {*used, stable}
    numbers = [int(found.group(1)) for name in taken if (found := _numbered_by(stem, name))]
    number = max(numbers, default=0) + 1
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


def is_usable(version: str) -> bool:
    """Whether a version may be part of keys; a template may state anything."""
    return len(version) <= MAX_LENGTH and _LITERAL.fullmatch(version) is not None


def _numbered_by(stem: str, name: str) -> re.Match[str] | None:
    return re.fullmatch(re.escape(stem) + r"(\d{1,9})", name)
