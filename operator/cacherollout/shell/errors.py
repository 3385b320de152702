"""The one place where exceptions are sorted by whose fault they are, and what follows.

Text of foreign origin ends in events, conditions and logs: it is cut and redacted here.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cacherollout.api.reasons import Reason
from cacherollout.ports.errors import (
    MAX_FOREIGN_TEXT,
    ConflictError,
    DependencyError,
    InvariantError,
    SpecError,
)

_SECRETS: Final = (
    # user:password@ in a URL
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]*@"), r"\1***@"),
    # Authorization: Bearer x, Basic x
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    # password=x, "token": "x", requirepass x
    (
        re.compile(
            r"(?i)([\"']?\b[\w-]*(?:passw(?:or)?d|passwd|secret|token|api[_-]?key|requirepass)\b"
            r"[\"']?\s*(?:[=:]\s*|\s(?=\S*\d)))([\"']?)[^\s\"',;&}]+"
        ),
        r"\1\2***",
    ),
)


class Blame(Enum):
    """Whose fault an error is."""

    USER = "spec"
    """Nothing is tried until the spec changes."""
    WORLD = "dependency"
    """Hold, and try again with a growing delay."""
    RACE = "conflict"
    """Somebody wrote first: look again at once, without a word."""
    OURS = "invariant"
    """Stop acting on this rollout until it or the operator changes."""
    UNKNOWN = "unexpected"
    """Not foreseen; perhaps it passes: counted, said once, tried again with a growing delay."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception, sorted."""

    blame: Blame
    reason: Reason
    message: str
    retry_seconds: float | None = None


def classify(error: Exception) -> Failure:
    """What an exception means for the rollout whose pass it ended."""
    match error:
        case SpecError():
            return Failure(Blame.USER, error.reason, foreign(str(error), 2 * MAX_FOREIGN_TEXT))
        case DependencyError():
            text = foreign(str(error), 2 * MAX_FOREIGN_TEXT)
            return Failure(Blame.WORLD, error.reason, text, error.retry_seconds)
        case ConflictError():
            return Failure(Blame.RACE, error.reason, foreign(str(error)))
        case InvariantError():
            return Failure(
                Blame.OURS,
                error.reason,
                f"{foreign(str(error))}. The operator stopped acting on this CacheRollout; "
                "the running pods stay as they are. Report the operator's log; a changed spec or "
                "a restarted operator tries again.",
            )
        case _:
            return Failure(
                Blame.UNKNOWN,
                Reason.INTERNAL_ERROR,
                f"Unexpected {type(error).__name__}: {foreign(str(error))}. "
                "The running pods stay as they are; the operator tries again by itself.",
            )


def foreign(text: str, limit: int = MAX_FOREIGN_TEXT) -> str:
    """Text of unknown origin: one line, without credentials, of at most `limit` characters."""
    line = redact(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def redact(text: str) -> str:
    """`text` with everything that looks like a credential replaced by asterisks."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
