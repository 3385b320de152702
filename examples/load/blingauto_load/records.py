"""What users saw, second by second, and who answered the bad ones. Bounded in memory.

A result belongs to the second in which it ended. Latencies are those of successful answers; what
failed is counted by kind instead. They are kept as counts of rounded values (up to 0.1 ms below 10 ms,
1 ms below a second, 10 ms above), so that a report over many minutes does not hold up the load.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal[
    "ok", "broken", "stale", "just_written", "http_5xx", "http_503", "http_4xx", "timeout",
    "connection", "not_sent",
]  # fmt: skip
ERRORS: frozenset[Outcome] = frozenset(
    {"http_5xx", "http_503", "http_4xx", "timeout", "connection", "not_sent"}
)
BAD: frozenset[Outcome] = ERRORS | {"broken", "stale"}
_SECONDS_KEPT = 7_200
_BAD_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of one request. `release`, `cache_version` and `pod` are empty if nobody answered."""

    at: float
    outcome: Outcome
    seconds: float
    release: str = ""
    cache_version: str = ""
    pod: str = ""

    @property
    def source(self) -> str:
        """Who answered, as `release/cache version`, or `nobody`."""
        return f"{self.release}/{self.cache_version}" if self.release else "nobody"


@dataclass(slots=True)
class Second:
    """The results that ended within one second of wall time."""

    at: int
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    bad_sources: Counter[str] = field(default_factory=Counter)
    pods: Counter[str] = field(default_factory=Counter)
    latencies_ms: Counter[float] = field(default_factory=Counter)

    def add(self, answer: Answer) -> None:
        """Count one result."""
        self.outcomes[answer.outcome] += 1
        self.sources[answer.source] += 1
        if answer.outcome in BAD:
            self.bad_sources[answer.source] += 1
        if answer.pod:
            self.pods[answer.pod] += 1
        if answer.outcome not in ERRORS:
            self.latencies_ms[rounded_ms(answer.seconds)] += 1


@dataclass(frozen=True, slots=True)
class Bad:
    """One answer that a user would complain about."""

    at: float
    outcome: Outcome
    source: str
    pod: str


class Records:
    """Collects answers; times are Unix seconds."""

    def __init__(self) -> None:
        self._lines: dict[int, dict[str, Any]] = {}
        self._seconds: deque[Second] = deque(maxlen=_SECONDS_KEPT)
        self._bad: deque[Bad] = deque(maxlen=_BAD_KEPT)
        self.totals: Counter[tuple[Outcome, str]] = Counter()

    def add(self, answer: Answer) -> None:
        """Count one result."""
        at = math.floor(answer.at)
        if not self._seconds or self._seconds[-1].at < at:
            self._seconds.append(Second(at))
        self._seconds[-1].add(answer)
        self.totals[answer.outcome, answer.source] += 1
        if answer.outcome in BAD:
            self._bad.append(Bad(answer.at, answer.outcome, answer.source, answer.pod))

    def finished_seconds(self, since: float, until: float) -> list[Second]:
        """The seconds that began at or after `since` and are over by `until`, in order."""
        return [second for second in self._seconds if since <= second.at <= until - 1]

    def report(self, since: float, until: float) -> dict[str, Any]:
        """All of `[since, until]` in one, with each second's line; begun seconds count whole."""
        begin = math.floor(since)
        seconds = [second for second in self._seconds if begin <= second.at < until]
        bad = [one for one in self._bad if since <= one.at <= until]
        return {
            "since": since,
            "until": until,
            **summarize(seconds),
            "bad_by_source": _bad_by_source(bad),
            "seconds": [self.line_of(second) for second in seconds],
        }

    def line_of(self, second: Second) -> dict[str, Any]:
        """One second as a JSON object; those that are over are worked out once."""
        is_over = second is not self._seconds[-1]
        line = self._lines.get(second.at) if is_over else None
        if line is None:
            line = {"at": second.at, "interval_seconds": 1, **summarize([second])}
            if is_over:
                self._lines[second.at] = line
                self._lines.pop(second.at - _SECONDS_KEPT, None)
        return line


def summarize(seconds: Iterable[Second]) -> dict[str, Any]:
    """Counts and percentiles of some seconds together; latencies in milliseconds."""
    merged = Second(0)
    for second in seconds:
        merged.outcomes.update(second.outcomes)
        merged.sources.update(second.sources)
        merged.bad_sources.update(second.bad_sources)
        merged.pods.update(second.pods)
        merged.latencies_ms.update(second.latencies_ms)
    errors = {kind: n for kind, n in sorted(merged.outcomes.items()) if kind in ERRORS}
    return {
        "requests": merged.outcomes.total(),
        "errors": sum(errors.values()),
        "errors_by_kind": errors,
        "broken": merged.outcomes["broken"],
        "stale": merged.outcomes["stale"],
        "just_written": merged.outcomes["just_written"],
        "p50_ms": percentile(merged.latencies_ms, 50),
        "p95_ms": percentile(merged.latencies_ms, 95),
        "p99_ms": percentile(merged.latencies_ms, 99),
        "by_source": dict(sorted(merged.sources.items())),
        "bad_by": dict(sorted(merged.bad_sources.items())),
        "by_pod": dict(sorted(merged.pods.items())),
    }


def rounded_ms(seconds: float) -> float:
    """A latency in milliseconds, rounded up to the next value that is kept."""
    milliseconds = seconds * 1_000
    step = 0.1 if milliseconds < 10 else 1 if milliseconds < 1_000 else 10
    return round(math.ceil(round(milliseconds / step, 6)) * step, 1)


def percentile(counts: Counter[float], percent: float) -> float | None:
    """The nearest-rank percentile; None without data."""
    rank = max(1, math.ceil(counts.total() * percent / 100))
    for value, count in sorted(counts.items()):
        rank -= count
        if rank <= 0:
            return value
    return None


def _bad_by_source(bad: list[Bad]) -> dict[str, dict[str, Any]]:
    sources: dict[str, dict[str, Any]] = {}
    for one in bad:
        entry = sources.setdefault(
            one.source, {"first_at": one.at, "last_at": one.at, "count": 0, "kinds": {}, "pods": {}}
        )
        entry["last_at"] = one.at
        entry["count"] += 1
        entry["kinds"][one.outcome] = entry["kinds"].get(one.outcome, 0) + 1
        entry["pods"][one.pod] = entry["pods"].get(one.pod, 0) + 1
    return sources
