"""Around every request: its metrics, and the headers that say who answered.

Wraps the whole application, error pages included, so that no answer leaves without them.
"""

from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blingauto.lifecycle import Lifecycle
from blingauto.settings import Settings

_UNMEASURED = frozenset({"/metrics", "/livez", "/readyz"})


class Telemetry:
    """ASGI middleware. Routes are labelled by their template, so cardinality stays bounded."""

    def __init__(
        self, app: ASGIApp, settings: Settings, registry: CollectorRegistry, lifecycle: Lifecycle
    ) -> None:
        self._app = app
        self._version = settings.cache_version
        self._lifecycle = lifecycle
        self._headers = [
            (b"x-release", settings.release.encode()),
            (b"x-cache-version", settings.cache_version.encode()),
            (b"x-pod", settings.pod.encode()),
        ]
        self._requests = Counter(
            "http_requests_total",
            "Requests answered.",
            ("version", "method", "route", "status"),
            registry=registry,
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "Wall time from the request's arrival to the end of its answer.",
            ("version", "route"),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an error that nobody handled counts as 500 and goes on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started_at = perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers]
                if self._lifecycle.is_draining:
                    # A connection outlives its endpoint: without this it would come back here.
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            if scope["path"] not in _UNMEASURED:
                self._observe(scope, status, perf_counter() - started_at)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if route != "unmatched" else "any"
        self._requests.labels(self._version, method, route, str(status)).inc()
        self._durations.labels(self._version, route).observe(seconds)
