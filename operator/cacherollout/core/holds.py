"""Holds: times in which an attempt stays where it is, and whose patience they cost.

A deadline counts what the release took, not what befell it: the time of a hold that it did not
cause is taken off. A hold is known by its reason, so that one kind never inherits another's time.
"""

from cacherollout.api.reasons import Reason
from cacherollout.core.passes import Pass

HOLD_SECONDS = 300.0
"""Both sides may be bad together for this long before the release is undone; and after so long
without anything to judge by, only a person can help."""
_CAUSED = (Reason.CANARY_STARTING,)
"""Holds that are the release's own doing: their time counts."""
_QUIET = (Reason.CANARY_STARTING, Reason.PAUSED_BY_REQUEST)
"""Holds without an event: they are expected."""
_SILENT = (Reason.NO_DATA, Reason.METRICS_UNAVAILABLE)

FRESH = {"hold_since": None, "hold_reason": "", "excused_seconds": 0.0}
"""What a new phase starts with."""


def note(here: Pass, blocked: tuple[Reason, str] | None) -> Pass:
    """The pass with the present hold in the ledger; None ends the one there was."""
    attempt = here.attempt
    reason = blocked[0].value if blocked else ""
    if reason == attempt.hold_reason:
        return here
    excused = attempt.excused_seconds + _excused_now(here)
    here = here.with_attempt(
        hold_reason=reason,
        hold_since=round(here.now, 3) if blocked else None,
        excused_seconds=round(excused, 3),
    )
    if blocked is None or blocked[0] in _QUIET:
        return here
    return here.saying(*blocked, is_warning=True)


def held_seconds(here: Pass) -> float:
    """For how long the present hold has lasted without a break."""
    since = here.attempt.hold_since
    return here.now - since if since is not None else 0.0


def is_too_sick(here: Pass) -> bool:
    """Whether both sides have been bad together for too long."""
    is_sick = here.attempt.hold_reason == Reason.GATE_HOLD
    return is_sick and held_seconds(here) >= HOLD_SECONDS


def is_stuck(here: Pass) -> bool:
    """Whether there has been nothing to judge by for so long that a person must look."""
    return here.attempt.hold_reason in _SILENT and held_seconds(here) >= HOLD_SECONDS


def is_overdue(here: Pass, since: float) -> bool:
    """Whether a phase that began at `since` took longer than the deadline by its own doing."""
    excused = here.attempt.excused_seconds + _excused_now(here)
    return here.now - since - excused > here.spec.deadline


def _excused_now(here: Pass) -> float:
    is_excused = here.attempt.hold_reason not in ("", *_CAUSED)
    return held_seconds(here) if is_excused else 0.0
