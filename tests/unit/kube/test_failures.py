"""What an answer of the API server means to us."""

import json
from dataclasses import dataclass, field

import pytest

from cacherollout.adapters.kube.failures import JSON_PATCH, failure, unreachable
from cacherollout.api.reasons import Reason
from cacherollout.ports.errors import (
    MAX_FOREIGN_TEXT,
    CacheRolloutError,
    ConflictError,
    DependencyError,
    InvariantError,
)

WHAT = "patch deployments.apps (/apis/apps/v1/namespaces/shop/deployments/api)"


@dataclass(frozen=True)
class Answer:
    status: int
    kind: type[CacheRolloutError]
    reason: Reason | None = None
    retry_seconds: float | None = None
    content_type: str = ""
    reasons: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


ANSWERS = {
    "the object is not there": Answer(404, ConflictError),
    "somebody wrote first": Answer(409, ConflictError),
    "the list's continuation expired": Answer(410, ConflictError),
    "a test of a JSON patch does not hold": Answer(422, ConflictError, content_type=JSON_PATCH),
    "a JSON patch makes an invalid object": Answer(
        422, InvariantError, content_type=JSON_PATCH, fields=("spec.replicas",)
    ),
    "the object has another UID": Answer(422, ConflictError, fields=("metadata.uid",)),
    "the object is invalid": Answer(422, InvariantError),
    "the request is malformed": Answer(400, InvariantError),
    "the credentials are not known": Answer(401, DependencyError, Reason.FORBIDDEN),
    "the verb is not allowed": Answer(403, DependencyError, Reason.FORBIDDEN),
    "the namespace is being deleted": Answer(403, ConflictError, reasons=("NamespaceTerminating",)),
    "the server asks for patience": Answer(
        429, DependencyError, Reason.API_UNAVAILABLE, 7.0, headers={"Retry-After": "7"}
    ),
    "the server asks for patience until a date": Answer(
        429,
        DependencyError,
        Reason.API_UNAVAILABLE,
        headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"},
    ),
    "the server is broken": Answer(500, DependencyError, Reason.API_UNAVAILABLE),
    "the server restarts": Answer(
        503, DependencyError, Reason.API_UNAVAILABLE, 1.0, headers={"Retry-After": "1"}
    ),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_error_when(answer: Answer) -> None:
    causes = [{"reason": each} for each in answer.reasons]
    causes += [{"field": each} for each in answer.fields]
    body = json.dumps({"message": "because", "details": {"causes": causes}}).encode()
    error = failure(answer.status, body, answer.headers, WHAT, answer.content_type)
    assert type(error) is answer.kind
    assert WHAT in str(error)
    assert "because" in str(error)
    if isinstance(error, DependencyError):
        assert (error.reason, error.retry_seconds) == (answer.reason, answer.retry_seconds)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"details": null}', b"\xff"])
def test_an_answer_that_cannot_be_read_is_told_by_its_status(body: bytes) -> None:
    error = failure(502, body, {}, WHAT)
    assert isinstance(error, DependencyError)
    assert "HTTP 502" in str(error)


def test_foreign_text_is_bounded() -> None:
    body = json.dumps({"message": "x" * 10_000}).encode()
    assert len(str(failure(409, body, {}, WHAT))) == MAX_FOREIGN_TEXT
    assert len(str(unreachable(OSError("x" * 10_000), WHAT))) <= 2 * MAX_FOREIGN_TEXT


def test_a_server_that_does_not_answer_is_named_with_what_was_asked() -> None:
    error = unreachable(TimeoutError(), WHAT)
    assert error.reason == Reason.API_UNAVAILABLE
    assert WHAT in str(error)
    assert "TimeoutError" in str(error)
