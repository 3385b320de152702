"""The result of one pass of the core: the new ledger, what to do, and what to say."""

from dataclasses import dataclass

from cacherollout.api.ledger import Ledger
from cacherollout.api.reasons import Phase, Reason
from cacherollout.core.actions import Action
from cacherollout.core.gates import Finding


@dataclass(frozen=True, slots=True)
class Say:
    """An event, posted once: on a transition, never for a state that lasts."""

    reason: Reason
    message: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to remember, do and say. Actions are in the order in which they must happen."""

    ledger: Ledger
    phase: Phase
    reason: Reason
    message: str
    actions: tuple[Action, ...] = ()
    requeue_seconds: float = 60.0
    """When to look again at the latest."""
    next: str = ""
    """What will happen next, for people."""
    is_stalled: bool = False
    """Only a person can help."""
    says: tuple[Say, ...] = ()
    findings: tuple[Finding, ...] = ()
    """What every gate found, for people."""
