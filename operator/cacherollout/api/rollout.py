"""CacheRollout: what a team asks for. Defaults are part of the contract and stand in the schema.

Holds no host, credential, pod spec, query or foreign namespace: those belong to admins' objects or
to the target itself.
"""

import hashlib
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from cacherollout.api.backend import ObjectName
from cacherollout.api.gates import Gates
from cacherollout.api.models import Model, Rule, as_set, keyed_by, matches, validations
from cacherollout.api.scalars import (
    Duration,
    PodCount,
    compared,
    resolve_count,
)

AUTO: Final = "Auto"
ON_SCHEMA_CHANGE: Final = "OnSchemaChange"
VERSION_PATTERN: Final = r"^(Auto|OnSchemaChange|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)$"
LITERAL_PATTERN: Final = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"
ENV_PATTERN: Final = r"^([A-Z][A-Z0-9_]*_)?VERSION$"
LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_LITERAL: Final = r"[^*?\[\]{}\\\s]"
KEY_PATTERN: Final = (
    rf"^{_LITERAL}{{3,}}\{{version\}}"
    rf"[^A-Za-z0-9._\-*?\[\]{{}}\\\s]{_LITERAL}*(\{{id\}}|\{{\{{id\}}\}}){_LITERAL}*$"
)
"""Prefix, version, a delimiter that no version may hold, id; braces around `{id}` are a hash tag."""
REPLAY_PATTERN: Final = (
    r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/\{id\}(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$"
)
METRICS_PATTERN: Final = r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$"
VERSIONS_KEY_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/|#-]*[A-Za-z0-9]$"

CacheVersion = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32, pattern=LITERAL_PATTERN),
    Field(
        json_schema_extra=matches(
            LITERAL_PATTERN,
            "write a version such as v1: lower-case letters, digits, '.', '_' and '-' inside",
        )
    ),
]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Codec(StrEnum):
    """How values are stored, as far as the operator may look into them."""

    JSON = "json"
    """UTF-8 JSON; the integrity gate decodes samples of it."""
    OPAQUE = "opaque"
    """Bytes that only the application understands."""


class Warm(StrEnum):
    """How a family's new namespace is filled."""

    COPY = "Copy"
    """The stored bytes stay valid: copy them between the versions, at no cost to the origin."""
    REPLAY = "Replay"
    """The format changes: ask the canary pods for the hot ids, within the origin's budget."""
    NONE = "None"
    """Leave the namespace cold; the ramp is slower for it."""


class Writes(StrEnum):
    """What the application does to a cached key when it writes."""

    INVALIDATE = "Invalidate"
    """It deletes the key; a stored value is a fill."""
    INVALIDATE_ALL = "InvalidateAll"
    """It deletes the keys of every version that `versionsKey` names, in one command."""
    WRITE_THROUGH = "WriteThrough"
    """It stores the new value."""


class Family(Model):
    """One kind of cached value, and the keys it lives under."""

    rules = (
        Rule(
            "self.warm != 'Replay' || has(self.replayPath)",
            "replayPath is missing: warm: Replay asks the canary pods for it, such as /users/{id}",
            holds=lambda family: family.warm is not Warm.REPLAY or family.replay_path is not None,
            field=".replayPath",
        ),
        Rule(
            "!has(self.required) || self.codec == 'json'",
            "required needs codec: json, since only JSON values are looked into",
            holds=lambda family: family.required is None or family.codec is Codec.JSON,
            field=".required",
        ),
        compared(
            "duration",
            "0s",
            "<",
            "ttl",
            "ttl must be above 0s: write the application's time to live, such as 5m",
            field=".ttl",
        ),
    )

    name: str = Field(
        min_length=1,
        max_length=63,
        pattern=LABEL_PATTERN,
        json_schema_extra=matches(
            LABEL_PATTERN,
            "write a family's name in lower-case letters, digits and '-', such as user",
        ),
    )
    """Name of the family; the label `family` of the application's metrics."""
    key: str = Field(
        min_length=1,
        max_length=128,
        pattern=KEY_PATTERN,
        json_schema_extra=validations(
            Rule(
                r"self.matches(r'^[^{}]*\{version\}[^{}]*\{+id\}+[^{}]*$')",
                "key must hold {version} once and, after it, {id} once, and no other braces, "
                "such as user:{version}:{id}",
            ),
            Rule(
                r"!self.matches(r'\{version\}[A-Za-z0-9._{-]')",
                "key needs a delimiter such as ':' right after {version}, or v1 would match v10",
            ),
            Rule(
                r"!self.matches(r'^[^{]{0,2}\{version\}')",
                "key needs at least three characters before {version}, such as user:, and must "
                "begin with one of the backend's keyPrefixes",
            ),
            Rule(
                r"!self.matches(r'[*?\[\]\\\s]')",
                "key may not hold spaces or the glob characters * ? [ ] and backslash",
            ),
        ),
    )
    """Key template with `{version}` and `{id}`, such as `user:{version}:{id}`."""
    ttl: Duration = 300.0
    """The application's time to live for this family."""
    codec: Codec = Codec.JSON
    """How values are stored."""
    required: list[FieldName] | None = Field(
        default=None, min_length=1, max_length=64, json_schema_extra=as_set()
    )
    """Fields that every stored value must carry."""
    schema_version: str | None = Field(default=None, min_length=1, max_length=64)
    """Any word that changes when the meaning of the values changes."""
    warm: Warm = Warm.COPY
    """How the new namespace is filled; a family whose schema changed is never copied."""
    replay_path: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        pattern=REPLAY_PATTERN,
        json_schema_extra=matches(
            REPLAY_PATTERN,
            "write replayPath as a path of the application with one {id}, such as /users/{id}: "
            "no scheme, host, query, empty segment, '..' or encoded character",
        ),
    )
    """Path on the application that reads one id through the cache, such as `/users/{id}`."""
    writes: Writes = Writes.INVALIDATE
    """What the application does to a cached key when it writes."""

    def covers(self, key: str) -> bool:
        """Whether a key could be one of this family's, under some version."""
        before, _, after = self.key.partition("{version}")
        return key.startswith(before) and after.partition("{id}")[0] in key[len(before) :]

    def fingerprint(self) -> str:
        """Digest of what decides whether stored values of two releases are interchangeable."""
        parts = [self.codec, self.schema_version or "", *sorted(self.required or [])]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


class Reference(Model):
    """An object of the same namespace."""

    name: ObjectName
    """Name of the object."""


class Target(Model):
    """The Deployment under the hold."""

    name: ObjectName
    """Name of a Deployment of the same namespace."""
    container: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        pattern=LABEL_PATTERN,
        json_schema_extra=matches(
            LABEL_PATTERN, "write the name of a container of the target, such as api"
        ),
    )
    """Container that reads the cache version; needed only where there are several."""


class Cache(Model):
    """The cache of the target and how a new version of it comes to be."""

    rules = (
        Rule(
            "self.families.all(f, self.families.exists_one(g, g.key == f.key))",
            "families must not share a name or a key template; give each its own",
            # Names are the API server's own business: they are the keys of the list.
            holds=lambda cache: (
                len({family.key for family in cache.families}) == len(cache.families)
                and len({family.name for family in cache.families}) == len(cache.families)
            ),
            field=".families",
        ),
        Rule(
            "!(self.version in ['auto', 'onschemachange'])",
            "write Auto or OnSchemaChange with capitals; in small letters it is no version either",
            holds=lambda cache: cache.version not in {"auto", "onschemachange"},
            field=".version",
        ),
        Rule(
            "has(self.versionsKey) || self.families.all(f, f.writes != 'InvalidateAll')",
            "writes: InvalidateAll needs cache.versionsKey, from which the application learns the "
            "versions: set it, such as app:versions, or write Invalidate",
            holds=lambda cache: (
                cache.versions_key is not None
                or all(family.writes is not Writes.INVALIDATE_ALL for family in cache.families)
            ),
            field=".families",
        ),
        Rule(
            # Whatever holds the family's beginning and, behind it, what stands before the id.
            "!has(self.versionsKey) || self.families.all(f, "
            r"!f.key.matches(r'^[^{}]+\{version\}[^{}]*\{+id\}') || "
            "!self.versionsKey.startsWith(f.key.substring(0, f.key.indexOf('{version}'))) || "
            "!self.versionsKey.substring(f.key.indexOf('{version}'))"
            ".contains(f.key.substring(f.key.indexOf('{version}') + 9, f.key.indexOf('{id}'))))",
            "versionsKey lies under the key of a family and could be taken for a cached value: "
            "choose one that begins otherwise, such as app:versions",
            holds=lambda cache: (
                cache.versions_key is None
                or not any(family.covers(cache.versions_key) for family in cache.families)
            ),
            field=".versionsKey",
        ),
    )

    backend_ref: Reference
    """The CacheBackend of the same namespace that holds the keys."""
    version: str = Field(
        default=AUTO,
        min_length=1,
        max_length=32,
        pattern=VERSION_PATTERN,
        json_schema_extra=validations(
            Rule(
                f"self.matches(r'{VERSION_PATTERN}')",
                "write Auto, OnSchemaChange, or a version such as v3: lower-case letters, digits, "
                "and '.', '_' and '-' inside",
            ),
        ),
    )
    """`Auto` allots the next number; `OnSchemaChange` only when a family changed; or a literal."""
    initial_version: CacheVersion = "v1"
    """The version that running pods use when their template does not say."""
    env: str = Field(
        default="CACHE_VERSION",
        min_length=1,
        max_length=63,
        pattern=ENV_PATTERN,
        json_schema_extra=matches(
            ENV_PATTERN,
            "write env in capitals and ending in VERSION, such as CACHE_VERSION; no other "
            "variable may be written",
        ),
    )
    """Environment variable that tells the application its cache version."""
    families: list[Family] = Field(min_length=1, max_length=32, json_schema_extra=keyed_by("name"))
    """The kinds of cached values; keys of other families are never touched."""
    versions_key: str | None = Field(
        default=None,
        min_length=3,
        max_length=128,
        pattern=VERSIONS_KEY_PATTERN,
        json_schema_extra=matches(
            VERSIONS_KEY_PATTERN,
            "write versionsKey as one key of the cache, such as app:versions: letters, digits and "
            "any of . _ : / | # - inside, beginning with one of the backend's keyPrefixes",
        ),
    )
    """Key that names the versions in use, such as `v1,v2`, to the application; one a CacheRollout."""


class Canary(Model):
    """How large the judged part may be."""

    rules = (
        Rule(
            # Shares are compared in Python only: the API server takes such text for unbounded
            # and finds any comparison of two of them too dear.
            "type(self.replicas) != int || type(self.maxReplicas) != int || "
            "int(self.replicas) <= int(self.maxReplicas)",
            "canary.maxReplicas must be at least canary.replicas",
            holds=lambda canary: (
                isinstance(canary.replicas, int) is not isinstance(canary.max_replicas, int)
                or resolve_count(canary.replicas, 100) <= resolve_count(canary.max_replicas, 100)
            ),
            field=".maxReplicas",
        ),
    )

    replicas: PodCount = "10%"
    """Canary pods that are admitted first, as a number or a share of the stable ones."""
    max_replicas: PodCount = "50%"
    """Canary pods that may be admitted before promotion."""


class Metrics(Model):
    """Where the target's pods expose their counters."""

    rules = (
        compared(
            "duration",
            "1s",
            "<=",
            "interval",
            "metrics.interval must be at least 1s, such as 5s",
            field=".interval",
        ),
        compared(
            "duration",
            "interval",
            "<=",
            "1m",
            "metrics.interval must be at most 1m, such as 5s",
            field=".interval",
        ),
    )

    port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the metrics; the container's first declared port where absent."""
    path: str = Field(
        default="/metrics",
        min_length=1,
        max_length=256,
        pattern=METRICS_PATTERN,
        json_schema_extra=matches(
            METRICS_PATTERN,
            "write metrics.path as a plain path such as /metrics: no scheme, host, query, empty "
            "segment or '..'",
        ),
    )
    """Path of the metrics."""
    interval: Duration = 5.0
    """Time between two scrapes."""


class OriginLoad(Model):
    """What the rollout may cost the database behind the cache."""

    budget: float | None = Field(
        default=None,
        ge=1.05,
        le=10,
        json_schema_extra=validations(
            # The API server cuts a fractional minimum where the number itself is whole.
            Rule("self >= 1.05", "write a budget from 1.05 to 10, such as 1.5")
        ),
    )
    """Allowed load ÷ load before the release. Absent: 1.5 when every family is copied, else 2."""


class CacheRolloutSpec(Model):
    """A Deployment under the hold, its cache, and how a release of both is judged."""

    rules = (
        Rule(
            "self.targetRef.name == oldSelf.targetRef.name",
            "targetRef.name cannot change: delete this CacheRollout and create another",
            field=".targetRef.name",
        ),
        compared(
            "duration",
            "soak",
            "<=",
            "deadline",
            "deadline must be at least as long as soak, or no release could ever pass",
            field=".deadline",
        ),
        compared(
            "duration",
            "0s",
            "<",
            "deadline",
            "deadline must be above 0s, such as 20m",
            field=".deadline",
        ),
    )

    target_ref: Target
    """The Deployment under the hold."""
    cache: Cache
    """Its cache."""
    canary: Canary = Field(default_factory=Canary)
    """How large the judged part may be."""
    gates: Gates = Field(default_factory=Gates)
    """What the canary is judged by."""
    metrics: Metrics = Field(default_factory=Metrics)
    """Where the counters come from."""
    origin_load: OriginLoad = Field(default_factory=OriginLoad)
    """What the rollout may cost the database."""
    soak: Duration = 300.0
    """Least time under traffic before promotion."""
    deadline: Duration = 1200.0
    """Longest time in each phase; past it the release is rolled back."""
    rollback_window: Duration = 900.0
    """Time after promotion during which the old version stays warm."""

    def budget(self) -> float:
        """Allowed origin load as a multiple of the load before the release."""
        if self.origin_load.budget is not None:
            return self.origin_load.budget
        copied = all(family.warm is Warm.COPY for family in self.cache.families)
        return 1.5 if copied else 2.0

    def fingerprints(self) -> dict[str, str]:
        """Schema fingerprint of each family by its name."""
        return {family.name: family.fingerprint() for family in self.cache.families}
