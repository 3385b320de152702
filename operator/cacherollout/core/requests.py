"""A person's request: taken once, tied to a revision if it names one, refused with a reason."""

from dataclasses import replace

from cacherollout.api.ledger import Abort, Ledger
from cacherollout.api.reasons import Reason
from cacherollout.core import holds
from cacherollout.core.actions import ConsumeRequest
from cacherollout.core.facts import Request
from cacherollout.core.gates import Verdict
from cacherollout.core.judging import worst
from cacherollout.core.passes import Pass

VERBS = ("promote", "abort", "retry", "pause", "resume")


def take(here: Pass) -> Pass:
    """The pass with the request carried into the ledger, and its annotation consumed."""
    request = here.observed.request
    if request is None:
        return here
    here = here.also(ConsumeRequest(request.raw))
    refusal = _refusal(here, request)
    if refusal:
        return here.saying(Reason.REQUEST_REFUSED, refusal, is_warning=True)
    match request.verb:
        case "pause":
            return here.with_ledger(is_paused=True).saying(
                Reason.PAUSED_BY_REQUEST,
                "Paused by request: the rollout takes no step forward until it is resumed; a "
                "failing gate still rolls it back.",
            )
        case "resume":
            return here.with_ledger(is_paused=False).saying(Reason.RESUMED, "Resumed by request.")
        case "retry":
            return here.with_ledger(rejected=None, rejected_reason="", rejected_message="").saying(
                Reason.RESUMED, "The rejected release is tried again by request."
            )
        case "abort":
            why = "a person asked for it"
            return here.with_attempt(
                abort=Abort(Reason.ABORT_REQUESTED, why, round(here.now, 3))
            ).saying(
                Reason.ABORT_REQUESTED,
                f"{here.attempt.release.version} is undone: {why}.",
                is_warning=True,
            )
        case _:
            return here.with_attempt(promote_at=round(here.now, 3), **holds.FRESH).saying(
                Reason.PROMOTION_STARTED,
                f"Promotion of {here.attempt.release.version} started by request.",
            )


def take_readoption(here: Pass) -> Pass:
    """A replaced target is adopted anew only where a person asks for a retry."""
    request = here.observed.request
    if request is None or request.verb != "retry":
        return here
    attempt, retiring = here.ledger.attempt, here.ledger.retiring
    if attempt is not None:
        retiring = (*retiring, attempt.release.version)
    fresh = Ledger(attempts=here.ledger.attempts, versions=here.ledger.versions, retiring=retiring)
    return replace(here, ledger=fresh).also(ConsumeRequest(request.raw))


def _refusal(here: Pass, request: Request) -> str:
    """Why the request makes no sense now, and when it would; empty where it does."""
    attempt, ledger = here.ledger.attempt, here.ledger
    if request.verb not in VERBS:
        return (
            f"Request {request.verb!r} is unknown; the annotation takes one of {', '.join(VERBS)}."
        )
    if request.verb == "retry":
        if ledger.rejected is None:
            return "Nothing was rejected, so there is nothing to retry."
        return _mismatch(request, ledger.rejected.revision)
    if request.verb in ("pause", "resume"):
        return ""
    if attempt is None or attempt.abort is not None:
        return f"No release is under way, so there is nothing to {request.verb}."
    if request.verb == "promote":
        refusal = _promotion_refusal(here)
        if refusal:
            return refusal
    return _mismatch(request, attempt.release.revision)


def _promotion_refusal(here: Pass) -> str:
    if here.attempt.promote_at is not None:
        return "The release is being promoted already."
    if here.attempt.traffic_since is None:
        return "The canary takes no traffic yet: promote makes sense once the phase is Analyzing."
    if here.observed.cache.problem is not None:
        return f"The cache is not well ({here.observed.cache.problem.message}); promote later."
    bad = worst(here.findings)
    if bad.verdict in (Verdict.HOLD, Verdict.FAIL):
        return f"Gate {bad.gate} says {bad.verdict.label}: {bad.message}."
    return ""


def _mismatch(request: Request, revision: str) -> str:
    if request.revision in (None, revision):
        return ""
    return (
        f"The request speaks of revision {request.revision}, but {revision} is at hand; "
        "look at the status and ask again."
    )
