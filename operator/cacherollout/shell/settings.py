"""What the person who installs the operator decides; checked once, when the process starts."""

import re
import socket
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_NAMESPACE: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one replica. ValueError names the wrong one and the fix."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to serve; none means the whole cluster."""
    lease_namespace: str = "default"
    lease_name: str = "cacherollout-operator"
    identity: str = ""
    """Name of this replica in the Lease; unique among the replicas that run at one time."""
    host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the pod
    port: int = 8080
    """Port of the health checks and metrics; 0 picks a free one."""
    workers: int = 8
    """Most rollouts worked at one time."""
    kubeconfig: str | None = None
    """Without it the process uses the pod's service account."""
    context: str | None = None
    """Context of the kubeconfig."""

    def __post_init__(self) -> None:
        for namespace in (*self.namespaces, self.lease_namespace):
            if not _NAMESPACE.match(namespace):
                raise ValueError(f"{namespace!r} is not a namespace's name; check --namespace")
        if not 1 <= self.workers <= 64:
            raise ValueError(f"workers is {self.workers}; choose 1 to 64")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}; choose 0 to 65535")
        if self.context and not self.kubeconfig:
            raise ValueError("context needs kubeconfig, since a service account has none")

    def replica(self) -> str:
        """The identity; without one given, one that no other process has.

        A pod's name is the better identity: a container that is started again in the same pod
        takes its own Lease back at once, and two containers of a pod never run side by side.
        """
        return self.identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
