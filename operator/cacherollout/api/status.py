"""The status of a CacheRollout: what people and tools read. Written whole, by one writer.

Numbers are rounded where they are written, so that a status that says the same is the same, and
the API server sees no write in a steady state.
"""

from typing import Any

from pydantic import Field

from cacherollout.api.models import Model, keyed_by
from cacherollout.api.reasons import Phase

MAX_MESSAGE = 1024


class Condition(Model):
    """One aspect of the state, in the form of the Kubernetes API conventions."""

    type: str = Field(min_length=1, max_length=63)
    """Which aspect."""
    status: str = Field(pattern="^(True|False|Unknown)$", max_length=7)
    """`True`, `False` or `Unknown`."""
    reason: str = Field(min_length=1, max_length=63)
    """One word from the documented, closed set."""
    message: str = Field(default="", max_length=MAX_MESSAGE)
    """What happened, why, and what to do."""
    last_transition_time: str = Field(min_length=1, max_length=32)
    """When `status` last changed."""
    observed_generation: int = Field(ge=0, le=2**53)
    """Generation of the spec that this speaks of."""


class SideStatus(Model):
    """One of the two releases."""

    version: str = Field(default="", max_length=32)
    """Cache version."""
    revision: str = Field(default="", max_length=63)
    """Digest of the pod template."""
    replicas: int = Field(default=0, ge=0, le=100_000)
    """Pods."""
    ready: int = Field(default=0, ge=0, le=100_000)
    """Pods that take traffic."""
    admitted: int = Field(default=0, ge=0, le=100_000)
    """Pods whose readiness gate is open (canary only)."""
    requests_percent: float | None = Field(default=None, ge=0, le=100)
    """Measured share of the requests."""
    hit_rate_percent: float | None = Field(default=None, ge=0, le=100)
    """Measured share of lookups that the cache answered."""
    error_percent: float | None = Field(default=None, ge=0, le=100)
    """Measured share of failed requests."""


class FamilyWarmth(Model):
    """How far one family is warmed."""

    name: str = Field(max_length=63)
    """Family."""
    method: str = Field(max_length=16)
    """`Copy`, `Replay` or `None`."""
    done: int = Field(default=0, ge=0, le=2**53)
    """Keys done."""
    total: int = Field(default=0, ge=0, le=2**53)
    """Keys to do."""
    coverage_percent: float | None = Field(default=None, ge=0, le=100)
    """Share of the traffic's keys that the new namespace holds."""


class WarmStatus(Model):
    """How far the new namespace is filled."""

    done: int = Field(default=0, ge=0, le=2**53)
    """Keys done."""
    total: int = Field(default=0, ge=0, le=2**53)
    """Keys to do."""
    coverage_percent: float | None = Field(default=None, ge=0, le=100)
    """Share of the traffic's keys that the new namespace holds."""
    keys_per_second: float | None = Field(default=None, ge=0, le=1e9)
    """Present rate."""
    eta_seconds: float | None = Field(default=None, ge=0, le=1e9)
    """Time left at the present rate."""
    summary: str = Field(default="", max_length=63)
    """The column WARM."""
    families: list[FamilyWarmth] = Field(
        default_factory=list, max_length=32, json_schema_extra=keyed_by("name")
    )
    """By family."""


class GateStatus(Model):
    """What one gate thinks, and why."""

    name: str = Field(max_length=63)
    """Gate."""
    verdict: str = Field(max_length=16)
    """`Pass`, `Undecided`, `NoData`, `Error`, `Hold` or `Fail`."""
    value: str = Field(default="", max_length=63)
    """Measured on the canary."""
    target: str = Field(default="", max_length=63)
    """What a healthy version shows."""
    evidence: str = Field(default="", max_length=63)
    """Evidence against the canary ÷ evidence that is conclusive."""
    eta_seconds: float | None = Field(default=None, ge=0, le=1e9)
    """Time to a verdict at the present traffic."""
    message: str = Field(default="", max_length=MAX_MESSAGE)
    """The same as a sentence."""


class OriginStatus(Model):
    """Load on the database behind the cache, as counted by the pods."""

    per_second: float = Field(default=0.0, ge=0, le=1e12)
    """Reads caused by cache misses."""
    baseline_per_second: float = Field(default=0.0, ge=0, le=1e12)
    """The same before the canary took traffic."""
    ratio: float | None = Field(default=None, ge=0, le=1e9)
    """Load ÷ baseline."""
    budget: float = Field(default=0.0, ge=0, le=1e3)
    """Allowed ratio."""


class VersionStatus(Model):
    """One cache version that this rollout knows of."""

    name: str = Field(max_length=32)
    """Version."""
    state: str = Field(max_length=16)
    """`Stable`, `Target`, `Returnable` or `Retiring`."""
    keys: int | None = Field(default=None, ge=0, le=2**53)
    """Keys, as last counted."""
    bytes: int | None = Field(default=None, ge=0, le=2**60)
    """Estimated memory of the keys."""


class CacheStatus(Model):
    """The cache and its versions."""

    versions: list[VersionStatus] = Field(
        default_factory=list, max_length=16, json_schema_extra=keyed_by("name")
    )
    """Versions with keys."""
    memory_percent: float | None = Field(default=None, ge=0, le=1000)
    """Used memory ÷ maxmemory; absent where the server has no limit."""
    coherent: bool | None = None
    """Whether writes through one version reach the other's copies."""
    lag_ms: float | None = Field(default=None, ge=0, le=1e9)
    """Delay of that, at its 99th percentile."""


class PhaseTime(Model):
    """A phase was entered."""

    phase: str = Field(max_length=16)
    """Phase."""
    at: str = Field(max_length=32)
    """When."""


class CacheRolloutStatus(Model):
    """Where the rollout stands."""

    phase: Phase | None = None
    """For people; derived."""
    message: str = Field(default="", max_length=MAX_MESSAGE)
    """One sentence: what happens, why, what is next."""
    observed_generation: int = Field(default=0, ge=0, le=2**53)
    """Generation of the spec that was acted upon."""
    versions: str = Field(default="", max_length=80)
    """The column VERSION: `v2` or `v2→v3`."""
    attempt: int = Field(default=0, ge=0, le=2**31)
    """Number of the attempt."""
    next: str = Field(default="", max_length=MAX_MESSAGE)
    """What will happen next, and when."""
    conditions: list[Condition] = Field(
        default_factory=list, max_length=16, json_schema_extra=keyed_by("type")
    )
    """Conditions."""
    stable: SideStatus | None = None
    """The release that serves."""
    target: SideStatus | None = None
    """The release on trial."""
    weight_percent: float | None = Field(default=None, ge=0, le=100)
    """Admitted canary pods ÷ all ready pods."""
    warm: WarmStatus | None = None
    """How far the new namespace is filled."""
    gates: list[GateStatus] = Field(
        default_factory=list, max_length=16, json_schema_extra=keyed_by("name")
    )
    """What the gates think."""
    origin: OriginStatus | None = None
    """Load on the database."""
    cache: CacheStatus | None = None
    """The cache and its versions."""
    timeline: list[PhaseTime] = Field(default_factory=list, max_length=32)
    """Phases of the last attempt."""
    ledger: dict[str, Any] = Field(
        default_factory=dict, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    """The operator's own memory; not an interface."""


class CacheBackendStatus(Model):
    """Whether the cache can be used."""

    conditions: list[Condition] = Field(
        default_factory=list, max_length=8, json_schema_extra=keyed_by("type")
    )
    """Conditions."""
