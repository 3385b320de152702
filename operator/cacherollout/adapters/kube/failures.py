"""What an answer of the API server means: the one table from HTTP statuses to our errors."""

import json
from collections.abc import Mapping

from cacherollout.api.reasons import Reason
from cacherollout.ports.errors import (
    MAX_FOREIGN_TEXT,
    CacheRolloutError,
    ConflictError,
    DependencyError,
    InvariantError,
)

JSON_PATCH = "application/json-patch+json"


def failure(
    status: int, body: bytes, headers: Mapping[str, str], what: str, content_type: str = ""
) -> CacheRolloutError:
    """The error that an answer stands for; `what` is the verb and resource that were refused."""
    answer = _answer(body)
    text = f"{what}: {answer.get('message') or f'HTTP {status}'}"[:MAX_FOREIGN_TEXT]
    if status in (409, 410, 404):
        return ConflictError(text)
    if status == 422 and _is_other_object(answer, content_type):
        return ConflictError(text)
    if status == 403 and "NamespaceTerminating" in _causes(answer, "reason"):
        return ConflictError(text)
    if status in (401, 403):
        return DependencyError(
            Reason.FORBIDDEN, f"The API server denies the operator to {text}", _wait(headers)
        )
    if status == 429 or status >= 500:
        return DependencyError(
            Reason.API_UNAVAILABLE, f"The API server is busy: {text}", _wait(headers)
        )
    return InvariantError(f"The API server refuses to {text}")


def unreachable(error: Exception, what: str) -> DependencyError:
    """The error for an API server that did not answer at all."""
    text = f"{type(error).__name__}: {error}"[:MAX_FOREIGN_TEXT]
    return DependencyError(
        Reason.API_UNAVAILABLE, f"The API server does not answer to {what} ({text})"
    )


def _answer(body: bytes) -> Mapping[str, object]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_other_object(answer: Mapping[str, object], content_type: str) -> bool:
    """Whether a precondition did not hold: a `test` of a JSON patch, or the UID in another one."""
    fields = _causes(answer, "field")
    return (content_type == JSON_PATCH and not fields) or "metadata.uid" in fields


def _causes(answer: Mapping[str, object], part: str) -> frozenset[str]:
    details = answer.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return frozenset(str(cause.get(part, "")) for cause in causes or [])


def _wait(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
