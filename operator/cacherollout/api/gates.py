"""The gates of a rollout as users configure them: targets, alerts, and what may not be asked for.

How a gate judges is core's business; here stands only what a spec may say.
"""

from pydantic import Field

from cacherollout.api.models import Model, Rule
from cacherollout.api.scalars import Duration, Percent, compared


class HitRateGate(Model):
    """Share of lookups that the cache answers; compared with what a healthy version would show."""

    rules = (
        compared(
            "percent",
            "alert",
            "<",
            "target",
            "cacheHitRate.alert must be below cacheHitRate.target, such as 50% and 80%",
            field=".alert",
        ),
        compared(
            "percent",
            "0%",
            "<",
            "alert",
            "cacheHitRate.alert must be above 0%: no version answers less than nothing",
            field=".alert",
        ),
        compared(
            "percent",
            "target",
            "<",
            "100%",
            "cacheHitRate.target must be below 100%: every cache misses now and then",
            field=".target",
        ),
    )

    target: Percent = 0.80
    """A healthy version answers at least this share from the cache."""
    alert: Percent = 0.50
    """A version that answers only this share is certainly broken."""


def _rising(gate: str) -> tuple[Rule, ...]:
    return (
        compared(
            "percent",
            "target",
            "<",
            "alert",
            f"{gate}.alert must be above {gate}.target, such as 1% and 0.1%",
            field=".alert",
        ),
        compared(
            "percent",
            "0%",
            "<",
            "target",
            f"{gate}.target must be above 0%, such as 0.1%: a target of nothing is never proved",
            field=".target",
        ),
        compared(
            "percent",
            "alert",
            "<",
            "100%",
            f"{gate}.alert must be below 100%, such as 1%: one success would clear any version",
            field=".alert",
        ),
    )


class CacheErrorGate(Model):
    """Failed cache operations ÷ cache operations; undecodable and incomplete values count."""

    rules = _rising("cacheErrorRate")

    target: Percent = 0.001
    """A healthy version fails at most this share."""
    alert: Percent = 0.01
    """A version that fails this share is certainly broken."""


class HttpErrorGate(Model):
    """Requests answered with a 5xx status ÷ requests."""

    rules = _rising("httpErrorRate")

    target: Percent = 0.001
    """A healthy version fails at most this share."""
    alert: Percent = 0.01
    """A version that fails this share is certainly broken."""


class LatencyGate(Model):
    """Time of one cache operation, judged at its 95th percentile."""

    rules = (
        compared(
            "duration",
            "p95",
            "<",
            "alert",
            "cacheLatency.alert must be above cacheLatency.p95, such as 50ms and 10ms",
            field=".alert",
        ),
        compared(
            "duration",
            "0s",
            "<",
            "p95",
            "cacheLatency.p95 must be above 0ms, such as 10ms",
            field=".p95",
        ),
    )

    p95: Duration = 0.010
    """A healthy version answers 95 % of its cache operations within this time."""
    alert: Duration = 0.050
    """A version whose 95th percentile reaches this is certainly broken."""


class MemoryGate(Model):
    """Used memory ÷ maxmemory of the cache; shared by both versions, so it holds, never blames."""

    rules = (
        compared(
            "percent",
            "target",
            "<",
            "alert",
            "redisMemory.alert must be above redisMemory.target, such as 90% and 80%",
            field=".alert",
        ),
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
