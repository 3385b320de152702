"""What the process tells about itself: log lines and metrics. Neither ever carries a credential."""

import json
import logging
import sys
import time
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from cacherollout.api.ledger import Attempt, Ledger
from cacherollout.api.names import Key
from cacherollout.api.reasons import Phase
from cacherollout.shell.errors import redact

_UTC: Final = "%Y-%m-%dT%H:%M:%S"
_STANDARD: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "settings", "k8s_skip", "k8s_ref"}
)
"""Attributes that every record has, or that kopf adds; whatever is beyond was given by us."""
_ROLLOUT: Final = ("namespace", "rollout")


class TextFormatter(logging.Formatter):
    """One line: UTC time, level, sentence, then `key=value` pairs."""

    converter = staticmethod(time.gmtime)
    default_time_format = _UTC
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without its traceback."""
        pairs = "".join(f" {name}={_plain(value)}" for name, value in _given(record).items())
        return super().formatMessage(record) + pairs

    def format(self, record: logging.LogRecord) -> str:
        """The whole record, redacted."""
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the same content."""

    converter = staticmethod(time.gmtime)
    default_time_format = _UTC
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        """The whole record, redacted."""
        line: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "message": redact(record.getMessage()),
            "logger": record.name,
        }
        for name, value in _given(record).items():
            line[name] = value if isinstance(value, int | float) else redact(str(value))
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(*, as_json: bool, is_verbose: bool = False) -> None:
    """Send the whole process's log to the standard error, redacted, in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(
        level=logging.DEBUG if is_verbose else logging.INFO, handlers=[handler], force=True
    )
    # kopf and aiohttp speak of every event and request; what matters of it we say ourselves.
    for name in ("kopf", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.INFO if is_verbose else logging.WARNING)


def _given(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _plain(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or set(text) & set(' "=\n') else text


class Metrics:
    """The metrics of the process, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._passes = Counter(
            "cacherollout_reconcile", "Passes by how they ended.", ["result"], registry=registry
        )
        self._seconds = Histogram(
            "cacherollout_reconcile_duration_seconds",
            "Duration of a pass.",
            registry=registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self._depth = Gauge(
            "cacherollout_workqueue_depth", "Keys that want a pass now.", registry=registry
        )
        self._adds = Counter("cacherollout_workqueue_adds", "Keys added.", registry=registry)
        self._retries = Counter(
            "cacherollout_workqueue_retries", "Keys added after a failed pass.", registry=registry
        )
        self._phase = Gauge(
            "cacherollout_rollout_phase",
            "1 for the phase that a rollout is in.",
            [*_ROLLOUT, "phase"],
            registry=registry,
        )
        self._last = Gauge(
            "cacherollout_last_successful_reconcile_timestamp_seconds",
            "When a pass of a rollout last succeeded.",
            _ROLLOUT,
            registry=registry,
        )
        self._value = Gauge(
            "cacherollout_gate_value",
            "Bad ÷ all observations of the canary, as a sequential gate has counted them.",
            [*_ROLLOUT, "gate"],
            registry=registry,
        )
        self._evidence = Gauge(
            "cacherollout_gate_evidence",
            "Evidence of a gate: canary_specific and absolute against the canary, fine for it.",
            [*_ROLLOUT, "gate", "kind"],
            registry=registry,
        )
        self.loop_lag = Gauge(
            "cacherollout_loop_lag_seconds",
            "How late the event loop last was: work that blocks it shows here.",
            registry=registry,
        )
        self.leader = Gauge(
            "cacherollout_leader", "1 while this replica holds the lease.", registry=registry
        )
        self._shown: dict[Key, tuple[str, frozenset[str]]] = {}

    def added(self) -> None:
        """A key was put into the queue."""
        self._adds.inc()

    def retried(self) -> None:
        """A key waits because its pass failed."""
        self._retries.inc()

    def depth(self, keys: int) -> None:
        """So many keys wait for a worker."""
        self._depth.set(keys)

    def passed(self, result: str, seconds: float) -> None:
        """A pass ended."""
        self._passes.labels(result).inc()
        self._seconds.observe(seconds)

    def show(self, key: Key, phase: Phase, ledger: Ledger, now: float) -> None:
        """Show where a rollout stands; takes the place of what was shown before."""
        gates = _gates_of(ledger.attempt)
        self._hide_all_but(key, phase, gates)
        self._phase.labels(*key, phase.value).set(1)
        self._last.labels(*key).set(now)
        for gate in ledger.attempt.evidence if ledger.attempt else ():
            self._value.labels(*key, gate.name).set(gate.bad / gate.total if gate.total else 0.0)
            self._evidence.labels(*key, gate.name, "canary_specific").set(gate.canary_specific)
            self._evidence.labels(*key, gate.name, "absolute").set(gate.absolute)
            self._evidence.labels(*key, gate.name, "fine").set(gate.fine)
        self._shown[key] = (phase.value, gates)

    def forget(self, key: Key) -> None:
        """Remove everything about a rollout that is gone."""
        if key in self._shown:
            self._hide_all_but(key, None, frozenset())
            self._last.remove(*key)
            del self._shown[key]

    def _hide_all_but(self, key: Key, phase: Phase | None, gates: frozenset[str]) -> None:
        shown_phase, shown_gates = self._shown.get(key, ("", frozenset()))
        if shown_phase and shown_phase != phase:
            self._phase.remove(*key, shown_phase)
        for gate in shown_gates - gates:
            self._value.remove(*key, gate)
            for kind in ("canary_specific", "absolute", "fine"):
                self._evidence.remove(*key, gate, kind)


def _gates_of(attempt: Attempt | None) -> frozenset[str]:
    return frozenset(gate.name for gate in attempt.evidence) if attempt else frozenset()
