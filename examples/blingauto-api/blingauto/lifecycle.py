"""Where a process stands between its start and its end; what `/readyz` tells."""

from dataclasses import dataclass


@dataclass(slots=True)
class Lifecycle:
    """Ready = started, not draining. Overload is no reason to be unready: all pods would be at once."""

    is_started: bool = False
    is_draining: bool = False
    # A background task that must never end has ended: only a restart helps, so `/livez` fails.
    has_failed: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether a Service should send requests here."""
        return self.is_started and not self.is_draining and not self.has_failed

    @property
    def reason(self) -> str:
        """Why the process is not ready, or `ready`."""
        if self.is_draining:
            return "draining"
        if self.has_failed:
            return "failed"
        return "ready" if self.is_started else "starting"
