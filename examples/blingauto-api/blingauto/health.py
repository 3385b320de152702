"""`/health`: what a person or a monitor wants to know, cache integrity included.

Not a probe: Kubernetes asks `/livez` and `/readyz`, which ask nobody else.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID, uuid4

from pydantic import AwareDatetime, BaseModel
from redis.exceptions import RedisError

from blingauto.cache.aside import CacheAside
from blingauto.cache.codec import CorruptValueError, JsonCodec
from blingauto.cache.store import Client
from blingauto.database import Database, DatabaseUnavailableError

_DATABASE_DEADLINE_SECONDS = 0.5
_PROBE_TTL_MILLISECONDS = 10_000
# The share of corrupt lookups at which a person has to be told; a gate should act far earlier.
_CORRUPT_ALERT_PERCENT = 1.0
Integrity = Literal["intact", "corrupt", "unknown"]


class _Probe(BaseModel):
    """One of each type that goes wrong most often."""

    id: UUID
    at: AwareDatetime
    amount: Decimal
    text: str


class HealthReport(BaseModel):
    """`degraded`: every request is answered, but without (all of) the cache."""

    status: Literal["ok", "degraded", "down"]
    release: str
    cache_version: str
    database: Literal["up", "down"]
    cache_integrity: Integrity
    corrupt_percent: float
    waiting_invalidations: int


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Asks the database and the cache, each within a short deadline."""

    release: str
    cache_version: str
    pod: str
    database: Database
    client: Client
    cache: CacheAside
    redis_timeout_seconds: float

    async def report(self) -> HealthReport:
        """Never raises for a dependency that is away; that is what it reports."""
        is_up, integrity = await asyncio.gather(self._is_database_up(), self._check_integrity())
        degraded = integrity != "intact" or self.cache.waiting_invalidations > 0
        return HealthReport(
            status="down" if not is_up else "degraded" if degraded else "ok",
            release=self.release,
            cache_version=self.cache_version,
            database="up" if is_up else "down",
            cache_integrity=integrity,
            corrupt_percent=round(self.cache.corrupt_percent, 2),
            waiting_invalidations=self.cache.waiting_invalidations,
        )

    async def _is_database_up(self) -> bool:
        try:
            async with asyncio.timeout(_DATABASE_DEADLINE_SECONDS):
                await self.database.ping()
        except (DatabaseUnavailableError, TimeoutError):
            return False
        return True

    async def _check_integrity(self) -> Integrity:
        """A value written now comes back equal, and recent lookups found intact values."""
        codec = JsonCodec(_Probe)
        probe = _Probe(
            id=uuid4(), at=datetime.now(UTC), amount=Decimal("10.50"), text='żółw "\u2028 🚗'
        )
        key = f"health:{self.cache_version}:{self.pod}"
        try:
            async with asyncio.timeout(self.redis_timeout_seconds):
                await self.client.set(key, codec.encode(probe), px=_PROBE_TTL_MILLISECONDS)
                data = await self.client.get(key)
        except (RedisError, OSError):
            return "unknown"
        try:
            is_equal = data is not None and codec.decode(data) == probe
        except CorruptValueError:
            return "corrupt"
        is_intact = is_equal and self.cache.corrupt_percent < _CORRUPT_ALERT_PERCENT
        return "intact" if is_intact else "corrupt"
