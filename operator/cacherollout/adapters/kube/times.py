"""Moments as Kubernetes writes them. Reads no clock: the moment is handed in."""

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """A moment in seconds since the epoch, to the second, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
