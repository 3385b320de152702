"""One pass of the core: what it starts from, and how its stages word their decisions."""

from dataclasses import dataclass, replace
from typing import Any

from cacherollout.api.ledger import Attempt, Ledger, Release
from cacherollout.api.reasons import Phase, Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import Action, ApplyTarget
from cacherollout.core.decisions import Decision, Say
from cacherollout.core.facts import Observed, TargetFacts
from cacherollout.core.gates import Finding

SOON: float = 0.0
"""Look again at once: the ledger has advanced."""
RESYNC_SECONDS: float = 60.0
"""Look again at the latest, whatever events were missed."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass knows. The ledger already has this pass's measurement counted in."""

    spec: CacheRolloutSpec
    ledger: Ledger
    observed: Observed
    now: float
    findings: tuple[Finding, ...] = ()
    says: tuple[Say, ...] = ()
    actions: tuple[Action, ...] = ()
    """Actions that come before those of the stage, such as consuming a request."""

    @property
    def target(self) -> TargetFacts:
        """The target; only for stages behind the rung that makes sure of it."""
        if self.observed.target is None:
            raise LookupError("the target is missing; a rung above must have answered")
        return self.observed.target

    @property
    def stable(self) -> Release:
        """The stable release; only for stages behind adoption."""
        if self.ledger.stable is None:
            raise LookupError("nothing is adopted; a rung above must have answered")
        return self.ledger.stable

    @property
    def attempt(self) -> Attempt:
        """The attempt; only for stages behind the rung that makes sure of it."""
        if self.ledger.attempt is None:
            raise LookupError("no attempt is under way; a rung above must have answered")
        return self.ledger.attempt

    def with_attempt(self, **changes: Any) -> "Pass":
        """The same pass with the attempt changed."""
        attempt = replace(self.attempt, **changes)
        return replace(self, ledger=replace(self.ledger, attempt=attempt))

    def with_ledger(self, **changes: Any) -> "Pass":
        """The same pass with the ledger changed."""
        return replace(self, ledger=replace(self.ledger, **changes))

    def apply_target(
        self, entry: str | None, *, is_paused: bool, is_promotion: bool = False
    ) -> ApplyTarget:
        """The hold, on or off, with our version entry beside it."""
        return ApplyTarget(
            is_paused,
            self.entry_beside(entry),
            self.target.resource_version,
            is_promotion=is_promotion,
        )

    def entry_beside(self, entry: str | None) -> str | None:
        """Our version entry in the present template; none where somebody else states theirs."""
        return entry if self.target.stated_version is None else None

    def also(self, *actions: Action) -> "Pass":
        """The same pass with actions that come before those of the stage."""
        return replace(self, actions=(*self.actions, *actions))

    def saying(self, reason: Reason, message: str, *, is_warning: bool = False) -> "Pass":
        """The same pass with one more event to post."""
        return replace(self, says=(*self.says, Say(reason, message, is_warning)))

    def decide(
        self,
        phase: Phase,
        reason: Reason,
        message: str,
        *actions: Action,
        requeue_seconds: float = RESYNC_SECONDS,
        next_: str = "",
        is_stalled: bool = False,
    ) -> Decision:
        """The decision that ends the pass."""
        return Decision(
            ledger=self.ledger,
            phase=phase,
            reason=reason,
            message=message,
            actions=(*self.actions, *actions),
            requeue_seconds=requeue_seconds,
            next=next_,
            is_stalled=is_stalled,
            says=self.says,
            findings=self.findings,
        )

    @property
    def pace_seconds(self) -> float:
        """When to look again while something is measured."""
        return self.spec.metrics.interval


def number_of_pods(count: int, kind: str = "") -> str:
    """`1 pod`, `3 canary pods`: a number of pods for people."""
    return f"{count} {kind and kind + ' '}pod{'' if count == 1 else 's'}"
