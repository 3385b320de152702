"""CacheRollout: what a team asks for. Defaults are part of the contract and stand in the schema.

Holds no host, credential, pod spec, query or foreign namespace: those belong to admins' objects or
to the target itself.
"""

import hashlib
from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field, StringConstraints

from cacherollout.api.backend import ObjectName
from cacherollout.api.models import Model, keyed_by, ruled
from cacherollout.api.scalars import Duration, Percent, PodCount

AUTO: Final = "Auto"
ON_SCHEMA_CHANGE: Final = "OnSchemaChange"
VERSION_PATTERN: Final = r"^(Auto|OnSchemaChange|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)$"
LITERAL_PATTERN: Final = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"

CacheVersion = Annotated[
    str, StringConstraints(min_length=1, max_length=32, pattern=LITERAL_PATTERN)
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
    WRITE_THROUGH = "WriteThrough"
    """It stores the new value."""


class Family(Model):
    """One kind of cached value, and the keys it lives under."""

    model_config = ruled(
        (
            (
                "self.key.contains('{version}') && self.key.contains('{id}') && "
                "self.key.indexOf('{version}') < self.key.indexOf('{id}')"
            ),
            "key must hold {version} and, after it, {id}, such as user:{version}:{id}",
        ),
        (
            "!self.key.contains('{version}{id}')",
            "key needs a delimiter between {version} and {id}, or v1 would match v10",
        ),
        (
            "self.warm != 'Replay' || has(self.replayPath)",
            "replayPath is missing: warm: Replay asks the canary pods for it, such as /users/{id}",
        ),
        (
            "!has(self.required) || self.codec == 'json'",
            "required needs codec: json, since only JSON values are looked into",
        ),
    )

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    """Name of the family; the label `family` of the application's metrics."""
    key: str = Field(min_length=14, max_length=128, pattern=r"^[^*?\[\]\\\s]+$")
    """Key template with `{version}` and `{id}`, such as `user:{version}:{id}`."""
    ttl: Duration = 300.0
    """The application's time to live for this family."""
    codec: Codec = Codec.JSON
    """How values are stored."""
    required: list[FieldName] | None = Field(default=None, min_length=1, max_length=64)
    """Fields that every stored value must carry."""
    schema_version: str | None = Field(default=None, min_length=1, max_length=64)
    """Any word that changes when the meaning of the values changes."""
    warm: Warm = Warm.COPY
    """How the new namespace is filled; a family whose schema changed is never copied."""
    replay_path: str | None = Field(
        default=None,
        min_length=2,
        max_length=256,
        pattern=r"^/([A-Za-z0-9._~-]+|\{id\})(/([A-Za-z0-9._~-]+|\{id\}))*$",
    )
    """Path on the application that reads one id through the cache, such as `/users/{id}`."""
    writes: Writes = Writes.INVALIDATE
    """What the application does to a cached key when it writes."""

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
    container: str | None = Field(default=None, min_length=1, max_length=63)
    """Container that reads the cache version; needed only where there are several."""


class Cache(Model):
    """The cache of the target and how a new version of it comes to be."""

    model_config = ruled(
        (
            "self.families.all(f, self.families.exists_one(g, g.key == f.key))",
            "families must not share a key template; give each its own",
        ),
    )

    backend_ref: Reference
    """The CacheBackend of the same namespace that holds the keys."""
    version: str = Field(default=AUTO, min_length=1, max_length=32, pattern=VERSION_PATTERN)
    """`Auto` allots the next number; `OnSchemaChange` only when a family changed; or a literal."""
    initial_version: CacheVersion = "v1"
    """The version that running pods use when their template does not say."""
    env: str = Field(
        default="CACHE_VERSION",
        min_length=7,
        max_length=63,
        pattern=r"^([A-Z][A-Z0-9_]*_)?VERSION$",
    )
    """Environment variable that tells the application its cache version."""
    families: list[Family] = Field(min_length=1, max_length=32, json_schema_extra=keyed_by("name"))
    """The kinds of cached values; keys of other families are never touched."""


class Canary(Model):
    """How large the judged part may be."""

    replicas: PodCount = "10%"
    """Canary pods that are admitted first, as a number or a share of the stable ones."""
    max_replicas: PodCount = "50%"
    """Canary pods that may be admitted before promotion."""


class HitRateGate(Model):
    """Share of lookups that the cache answers; compared with what a healthy version would show."""

    model_config = ruled(
        (
            (
                "double(self.alert.substring(0, self.alert.size() - 1)) < "
                "double(self.target.substring(0, self.target.size() - 1))"
            ),
            "cacheHitRate.alert must be below cacheHitRate.target, such as 50% and 80%",
        )
    )

    target: Percent = 0.80
    """A healthy version answers at least this share from the cache."""
    alert: Percent = 0.50
    """A version that answers only this share is certainly broken."""


def _rising(gate: str) -> ConfigDict:
    return ruled(
        (
            (
                "double(self.alert.substring(0, self.alert.size() - 1)) > "
                "double(self.target.substring(0, self.target.size() - 1))"
            ),
            f"{gate}.alert must be above {gate}.target, such as 1% and 0.1%",
        ),
        (
            "double(self.target.substring(0, self.target.size() - 1)) > 0.0",
            f"{gate}.target must be above 0%: a target of nothing can never be proved",
        ),
    )


class CacheErrorGate(Model):
    """Failed cache operations ÷ cache operations; undecodable and incomplete values count."""

    model_config = _rising("cacheErrorRate")

    target: Percent = 0.001
    """A healthy version fails at most this share."""
    alert: Percent = 0.01
    """A version that fails this share is certainly broken."""


class HttpErrorGate(Model):
    """Requests answered with a 5xx status ÷ requests."""

    model_config = _rising("httpErrorRate")

    target: Percent = 0.001
    """A healthy version fails at most this share."""
    alert: Percent = 0.01
    """A version that fails this share is certainly broken."""


class LatencyGate(Model):
    """Time of one cache operation, judged at its 95th percentile."""

    model_config = ruled(
        (
            "duration(self.alert) > duration(self.p95)",
            "cacheLatency.alert must be above cacheLatency.p95, such as 50ms and 10ms",
        ),
        ("duration(self.p95) > duration('0s')", "cacheLatency.p95 must be above 0ms"),
    )

    p95: Duration = 0.010
    """A healthy version answers 95 % of its cache operations within this time."""
    alert: Duration = 0.050
    """A version whose 95th percentile reaches this is certainly broken."""


class MemoryGate(Model):
    """Used memory ÷ maxmemory of the cache; shared by both versions, so it holds, never blames."""

    model_config = ruled(
        (
            (
                "double(self.alert.substring(0, self.alert.size() - 1)) > "
                "double(self.target.substring(0, self.target.size() - 1))"
            ),
            "redisMemory.alert must be above redisMemory.target, such as 90% and 80%",
        )
    )

    target: Percent = 0.80
    """Filling stops here."""
    alert: Percent = 0.90
    """The rollout stops here and gives the new version's keys back."""


class IntegrityGate(Model):
    """Stored values of the new version decode and carry their required fields."""

    sample: int = Field(default=200, ge=1, le=10_000)
    """Values read from each family at a time."""


class Gates(Model):
    """What the canary is judged by; every gate has a default and none needs to be written."""

    cache_hit_rate: HitRateGate = Field(default_factory=HitRateGate)
    """Share of lookups that the cache answers."""
    cache_error_rate: CacheErrorGate = Field(default_factory=CacheErrorGate)
    """Failed cache operations."""
    cache_latency: LatencyGate = Field(default_factory=LatencyGate)
    """Time of one cache operation."""
    http_error_rate: HttpErrorGate = Field(default_factory=HttpErrorGate)
    """Failed requests."""
    redis_memory: MemoryGate = Field(default_factory=MemoryGate)
    """Memory of the cache."""
    integrity: IntegrityGate = Field(default_factory=IntegrityGate)
    """Stored values."""


class Metrics(Model):
    """Where the target's pods expose their counters."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the metrics; the container's first declared port where absent."""
    path: str = Field(
        default="/metrics", min_length=1, max_length=256, pattern=r"^/[A-Za-z0-9._~/-]*$"
    )
    """Path of the metrics."""
    interval: Duration = 5.0
    """Time between two scrapes."""


class OriginLoad(Model):
    """What the rollout may cost the database behind the cache."""

    budget: float | None = Field(default=None, ge=1.05, le=10)
    """Allowed load ÷ load before the release. Absent: 1.5 when every family is copied, else 2."""


class CacheRolloutSpec(Model):
    """A Deployment under the hold, its cache, and how a release of both is judged."""

    model_config = ruled(
        (
            "self.targetRef.name == oldSelf.targetRef.name",
            "targetRef.name cannot change: delete this CacheRollout and create another",
        ),
        (
            "duration(self.soak) <= duration(self.deadline)",
            "deadline must be at least as long as soak, or no release could ever pass",
        ),
        (
            (
                "duration(self.metrics.interval) >= duration('1s') && "
                "duration(self.metrics.interval) <= duration('60s')"
            ),
            "metrics.interval must lie between 1s and 60s",
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
