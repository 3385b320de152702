"""Whose fault it is: the four kinds of error that cross a port.

Adapters translate their libraries' exceptions into these and chain them. Foreign text is cut to
256 characters and carries no credentials, because it ends in events and logs.
"""

from cacherollout.api.reasons import Reason

MAX_FOREIGN_TEXT = 256


class CacheRolloutError(Exception):
    """Anything that a port may raise; `reason` is what people see."""

    reason: Reason = Reason.INTERNAL_ERROR


class SpecError(CacheRolloutError):
    """The user's: the spec cannot be acted upon; no retry until it changes."""

    reason = Reason.INVALID_SPEC


class DependencyError(CacheRolloutError):
    """The world's: hold, and try again with a growing delay."""

    def __init__(self, reason: Reason, message: str, retry_seconds: float | None = None) -> None:
        super().__init__(message[: 2 * MAX_FOREIGN_TEXT])
        self.reason = reason
        self.retry_seconds = retry_seconds


class ConflictError(CacheRolloutError):
    """Somebody else wrote first; read again and decide anew, without a word."""


class InvariantError(CacheRolloutError):
    """Ours: a rule was about to be broken; stop acting on this rollout and say so once."""

    reason = Reason.INTERNAL_ERROR
