"""A circuit breaker: after some failures in a row, stop asking for a while, then try one.

Without it every request would wait the full timeout for a Redis that is not there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class CircuitBreaker:
    """Closed until `failures_to_open` failures in a row; then one trial per `retry_seconds`.

    Each `may_pass()` that returns True must be followed by `succeeded()` or `failed()`; a trial whose
    end is never reported (its task was cancelled) expires with the next period.
    """

    clock: Callable[[], float]
    failures_to_open: int = 5
    retry_seconds: float = 0.5
    _failures: int = field(default=0, init=False)
    _next_trial_at: float = field(default=0.0, init=False)

    @property
    def is_open(self) -> bool:
        """True while calls are kept away, trials aside."""
        return self._failures >= self.failures_to_open

    def may_pass(self) -> bool:
        """Whether the caller may try now."""
        if not self.is_open:
            return True
        now = self.clock()
        if now < self._next_trial_at:
            return False
        self._next_trial_at = now + self.retry_seconds
        return True

    def succeeded(self) -> None:
        """The call came back."""
        self._failures = 0

    def failed(self) -> None:
        """The call failed or ran out of time."""
        self._failures += 1
        if self._failures == self.failures_to_open:
            self._next_trial_at = self.clock() + self.retry_seconds
