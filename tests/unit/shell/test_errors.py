import pytest

from cacherollout.api.reasons import Reason
from cacherollout.ports.errors import ConflictError, DependencyError, InvariantError, SpecError
from cacherollout.shell.errors import Blame, classify, foreign, redact


@pytest.mark.parametrize(
    ("error", "blame", "reason"),
    [
        (SpecError("spec.soak: no"), Blame.USER, Reason.INVALID_SPEC),
        (
            DependencyError(Reason.CACHE_UNAVAILABLE, "refused"),
            Blame.WORLD,
            Reason.CACHE_UNAVAILABLE,
        ),
        (ConflictError("modified"), Blame.RACE, Reason.INTERNAL_ERROR),
        (InvariantError("two canaries"), Blame.OURS, Reason.INTERNAL_ERROR),
        (KeyError("metadata"), Blame.UNKNOWN, Reason.INTERNAL_ERROR),
        (TimeoutError(), Blame.UNKNOWN, Reason.INTERNAL_ERROR),
    ],
)
def test_every_error_is_somebodys_fault(error: Exception, blame: Blame, reason: Reason) -> None:
    failure = classify(error)
    assert (failure.blame, failure.reason) == (blame, reason)
    assert failure.message


def test_the_hint_when_to_try_again_is_kept() -> None:
    assert classify(DependencyError(Reason.API_UNAVAILABLE, "busy", 12.5)).retry_seconds == 12.5


def test_foreign_text_is_one_line_of_bounded_length() -> None:
    text = foreign("one\n\ttwo " + "x" * 1000)
    assert text.startswith("one two xx")
    assert len(text) == 256
    assert text.endswith("…")


@pytest.mark.parametrize(
    "text",
    [
        "cannot connect to redis://operator:s3cret@cache:6379/0",
        "cannot connect to https://s3cret@host/",
        "header Authorization: Bearer s3cret.abc.def refused",
        "config password=s3cret rejected",
        'body {"token": "s3cret", "x": 1}',
        "requirepass s3cret",
        "client_secret: s3cret",
        "API-KEY=s3cret&x=1",
    ],
)
def test_credentials_never_pass(text: str) -> None:
    assert "s3cret" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "secrets redis-operator is forbidden: cannot get resource",
        "v2 → v3: the keys of v2 are being removed",
        "get cacherollouts.cacherollout.io (/apis/cacherollout.io/v1alpha1) timed out",
        "The cache refuses the password of user operator; check Secret redis-operator.",
        "basic auth is not configured",
    ],
)
def test_plain_sentences_stay_as_they_are(text: str) -> None:
    assert redact(text) == text
