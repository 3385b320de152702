"""The wall clock, read here and nowhere else: everybody else is handed one.

Only decisions that outlive the process use it. Delays and deadlines of the process itself use the
event loop's clock, which never jumps.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Gives seconds since the epoch."""


def wall_clock() -> float:
    """Seconds since the epoch."""
    return time.time()  # noqa: TID251 - this is the clock that is handed in


def at_utc(seconds: float) -> datetime:
    """A moment in seconds since the epoch as an aware UTC time."""
    return datetime.fromtimestamp(seconds, UTC)


def rfc3339(seconds: float) -> str:
    """A moment in seconds since the epoch as Kubernetes writes it, to the second."""
    return at_utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
