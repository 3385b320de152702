"""What the application's metrics are called: the contract between a pod and the gates, as a table.

Every series may carry more labels than are listed; those listed must be there.

| metric | labels that are read | what it becomes |
|---|---|---|
| lookups | `version`, `result` | `lookups`; every result but `hit` is a miss |
| operations | | `operations` |
| errors | | `errors`, with values that did not decode or validate |
| durations | `le` | `timed` and, above the gate's bound, `slow` |
| requests | `status` | `requests`; `5xx` ones are `failures` |
| origin | | `origin` |

A lookup with `result="error"` is a failed operation: whether the value was there is unknown, so it is
neither a hit nor a miss and is left out of `lookups`. The application counts it in its errors.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricNames:
    """Names of the counters, as they stand on the page; `durations` is a histogram in seconds."""

    lookups: str
    operations: str
    errors: str
    durations: str
    requests: str
    origin: str

    @property
    def buckets(self) -> str:
        """Series that holds the buckets of the histogram."""
        return f"{self.durations}_bucket"

    def on_page(self) -> frozenset[str]:
        """Names of every series that is read."""
        return frozenset(
            (self.lookups, self.operations, self.errors, self.buckets, self.requests, self.origin)
        )


CONTRACT = MetricNames(
    lookups="cache_lookups_total",
    operations="cache_operations_total",
    errors="cache_errors_total",
    durations="cache_operation_duration_seconds",
    requests="http_requests_total",
    origin="origin_queries_total",
)
