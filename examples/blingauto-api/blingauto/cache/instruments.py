"""The cache's Prometheus metrics. The names and labels are a contract: see the README.

Cardinality is bounded: one cache version a process, a handful of families, closed label values.
"""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

Result = Literal["hit", "miss", "corrupt", "error"]
Operation = Literal["get", "set", "delete"]
ErrorKind = Literal["decode", "validation", "connection", "timeout"]
RESULTS: tuple[Result, ...] = ("hit", "miss", "corrupt", "error")
OPERATIONS: tuple[Operation, ...] = ("get", "set", "delete")
ERROR_KINDS: tuple[ErrorKind, ...] = ("decode", "validation", "connection", "timeout")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)


class CacheInstruments:
    """Counters of one process; every series exists from the start, so that rates begin at zero."""

    def __init__(
        self, registry: CollectorRegistry, version: str, families: tuple[str, ...]
    ) -> None:
        lookups = Counter(
            "cache_lookups_total",
            "Lookups, each with exactly one result.",
            ("version", "family", "result"),
            registry=registry,
        )
        operations = Counter(
            "cache_operations_total",
            "Operations sent to Redis, failed ones included.",
            ("version", "family", "operation"),
            registry=registry,
        )
        errors = Counter(
            "cache_errors_total",
            "Failed operations and corrupt values, each counted once.",
            ("version", "family", "kind"),
            registry=registry,
        )
        durations = Histogram(
            "cache_operation_duration_seconds",
            "Wall time of Redis operations as their caller saw it, failed ones included.",
            ("version", "operation"),
            buckets=_BUCKETS,
            registry=registry,
        )
        l1_hits = Counter(
            "cache_l1_hits_total",
            "The part of the hits that the process's own memory answered.",
            ("version", "family"),
            registry=registry,
        )
        self._lookups = {(f, r): lookups.labels(version, f, r) for f in families for r in RESULTS}
        self._operations = {
            (f, o): operations.labels(version, f, o) for f in families for o in OPERATIONS
        }
        self._errors = {(f, k): errors.labels(version, f, k) for f in families for k in ERROR_KINDS}
        self._durations = {o: durations.labels(version, o) for o in OPERATIONS}
        self._l1_hits = {f: l1_hits.labels(version, f) for f in families}
        self.invalidations_dropped = Counter(
            "cache_invalidations_dropped_total",
            "Deletes given up because too many were waiting for Redis to come back.",
            ("version",),
            registry=registry,
        ).labels(version)

        self.versions_unread = Counter(
            "cache_versions_unread_total",
            "Deletes that went by the versions known before, because the key could not be read.",
            ("version",),
            registry=registry,
        ).labels(version)

    def looked_up(self, family: str, result: Result) -> None:
        """Count one lookup."""
        self._lookups[family, result].inc()

    def hit_l1(self, family: str) -> None:
        """Count one lookup that this process's memory answered; it is a hit as well."""
        self._l1_hits[family].inc()
        self._lookups[family, "hit"].inc()

    def operated(self, family: str, operation: Operation, seconds: float) -> None:
        """Count one operation and its wall time."""
        self._operations[family, operation].inc()
        self._durations[operation].observe(seconds)

    def failed(self, family: str, kind: ErrorKind) -> None:
        """Count one failure."""
        self._errors[family, kind].inc()
