"""Puts the parts together: one function builds the application that a process serves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.process_collector import ProcessCollector
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.types import ASGIApp

from blingauto import defects
from blingauto.cache.aside import CacheAside
from blingauto.cache.instruments import CacheInstruments
from blingauto.cache.invalidations import Invalidations
from blingauto.cache.store import RedisStore
from blingauto.cache.versions import VersionsInUse
from blingauto.catalog import Catalog
from blingauto.database import Database, DatabaseUnavailableError
from blingauto.families import FAMILY_NAMES, build_families
from blingauto.health import HealthCheck, HealthReport
from blingauto.lifecycle import Lifecycle
from blingauto.origin import Origin
from blingauto.releases import Release, find_release
from blingauto.routes import build_routes
from blingauto.seed import SeedSize, seed_database
from blingauto.settings import Settings
from blingauto.telemetry import Telemetry
from blingauto.warmup import WarmUp, warm_up

_LOGGER = logging.getLogger(__name__)
_START_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Application:
    """The ASGI application and what its server has to tell it."""

    asgi: ASGIApp
    lifecycle: Lifecycle


@dataclass(frozen=True, slots=True)
class _Parts:
    settings: Settings
    release: Release
    registry: CollectorRegistry
    lifecycle: Lifecycle
    redis: Redis
    database: Database
    invalidations: Invalidations
    catalog: Catalog
    health: HealthCheck


def build_application(settings: Settings) -> Application:
    """Connects to nothing yet; that happens when the server starts the application."""
    parts = _build_parts(settings)
    api = FastAPI(title="Blingauto", version=settings.release, lifespan=_lifespan_of(parts))
    api.include_router(build_routes(parts.catalog))
    api.add_exception_handler(DatabaseUnavailableError, _answer_unavailable)
    if defects.spoils_requests(parts.release.defect):
        api.add_middleware(defects.FailingRequests)
    _add_management(api, parts)
    return Application(Telemetry(api, settings, parts.registry, parts.lifecycle), parts.lifecycle)


def _build_parts(settings: Settings) -> _Parts:
    release = find_release(settings.release)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    instruments = CacheInstruments(registry, settings.cache_version, FAMILY_NAMES)
    redis = _connect_redis(settings)
    client = defects.spoil_client(release.defect, redis)
    store = RedisStore(
        client,
        instruments=instruments,
        timeout_seconds=settings.redis_timeout_seconds,
        clock=monotonic,
    )
    versions = VersionsInUse(
        store,
        own=settings.cache_version,
        key=settings.cache_versions_key,
        instruments=instruments,
        clock=monotonic,
    )
    invalidations = Invalidations(
        store,
        versions,
        instruments=instruments,
        second_delete_seconds=settings.cache_second_delete_seconds,
        clock=monotonic,
    )
    cache = CacheAside(
        store,
        invalidations,
        instruments=instruments,
        version=settings.cache_version,
        ttl_seconds=settings.cache_ttl_seconds,
        ttl_jitter_percent=settings.cache_ttl_jitter_percent,
        l1_entries=settings.cache_l1_entries,
        l1_ttl_seconds=settings.cache_l1_ttl_seconds,
        clock=monotonic,
    )
    database = Database(
        settings.database_url,
        pool_size=settings.database_pool_size,
        pool_timeout_seconds=settings.database_pool_timeout_seconds,
        statement_timeout_seconds=settings.database_statement_timeout_seconds,
    )
    return _Parts(
        settings=settings,
        release=release,
        registry=registry,
        lifecycle=Lifecycle(),
        redis=redis,
        database=database,
        invalidations=invalidations,
        catalog=Catalog(
            cache=cache,
            origin=Origin(database, registry, settings.cache_version),
            families=defects.spoil_families(release.defect, build_families(release)),
            user_view=release.user,
        ),
        health=HealthCheck(
            release=settings.release,
            cache_version=settings.cache_version,
            pod=settings.pod,
            database=database,
            client=client,
            cache=cache,
            redis_timeout_seconds=settings.redis_timeout_seconds,
        ),
    )


def _connect_redis(settings: Settings) -> Redis:
    """No retries and no back-off in the client: the deadline and the breaker are the policy.

    When every connection is in use a command waits for one, within the same deadline; the ordinary
    pool would refuse it, and a burst of requests would look like an outage.
    """
    return Redis.from_pool(
        BlockingConnectionPool.from_url(
            settings.redis_url,
            max_connections=settings.redis_max_connections,
            timeout=settings.redis_timeout_seconds,
            socket_timeout=settings.redis_timeout_seconds,
            socket_connect_timeout=settings.redis_timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            client_name=settings.pod,
        )
    )


def _lifespan_of(parts: _Parts) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    def report_failure(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            parts.lifecycle.has_failed = True
            _LOGGER.critical("task %s ended", task.get_name(), exc_info=error)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(parts.invalidations.run(), name="invalidations"),
            # In the background, so that /livez answers while the database is being seeded.
            asyncio.create_task(_start(parts), name="start"),
        ]
        for task in tasks:
            task.add_done_callback(report_failure)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await parts.invalidations.flush()
            await parts.redis.aclose()
            await parts.database.close()

    return lifespan


async def _start(parts: _Parts) -> None:
    settings = parts.settings
    size = SeedSize(settings.seed_users, settings.seed_services, settings.seed_bookings)
    while True:
        try:
            await seed_database(parts.database, size)
            break
        except DatabaseUnavailableError as error:
            _LOGGER.info("database not there yet, trying again: %s", error)
            await asyncio.sleep(_START_RETRY_SECONDS)
    if settings.cache_warm_users:
        plan = WarmUp(settings.cache_warm_users, settings.cache_warm_seconds)
        _LOGGER.info("warmed values=%d", await warm_up(parts.catalog, plan))
    if defects.is_never_ready(parts.release.defect):
        return
    parts.lifecycle.is_started = True
    _LOGGER.info("ready release=%s cache_version=%s", settings.release, settings.cache_version)


async def _answer_unavailable(_request: Request, error: Exception) -> Response:
    _LOGGER.debug("answered 503: %s", error)
    return JSONResponse(
        {"detail": "the database is busy; try again"}, status_code=503, headers={"Retry-After": "1"}
    )


def _add_management(api: FastAPI, parts: _Parts) -> None:
    @api.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        status = 500 if parts.lifecycle.has_failed else 200
        return Response(parts.lifecycle.reason, status_code=status, media_type="text/plain")

    @api.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        status = 200 if parts.lifecycle.is_ready else 503
        return Response(parts.lifecycle.reason, status_code=status, media_type="text/plain")

    @api.get("/health")
    async def health(response: Response) -> HealthReport:
        report = await parts.health.report()
        response.status_code = 503 if report.status == "down" else 200
        return report

    @api.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)
