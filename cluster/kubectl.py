"""Asking a cluster through kubectl, always with the kubeconfig and context spelled out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import run
from cluster.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl bound to one cluster; never the user's current one by accident."""

    program: str
    kubeconfig: Path
    context: str = ""

    def __call__(
        self, *arguments: str, text: str | None = None, timeout_seconds: float = 30.0
    ) -> str:
        """Run one command and return its output; ClusterError if it fails."""
        return run(
            [*self.command(), *arguments],
            text=text,
            timeout_seconds=timeout_seconds,
        )

    def command(self) -> Sequence[str]:
        """The beginning of every command line."""
        context = [f"--context={self.context}"] if self.context else []
        return [self.program, f"--kubeconfig={self.kubeconfig}", *context]

    def answers(self, *arguments: str) -> bool:
        """Whether the command succeeds within a few seconds."""
        try:
            self("--request-timeout=3s", *arguments, timeout_seconds=10.0)
        except ClusterError:
            return False
        return True

    def is_ready(self) -> bool:
        """Whether the API server says so of itself."""
        return self.answers("get", "--raw", "/readyz")

    def node_is_ready(self) -> bool:
        """Whether there is a node and every node is Ready."""
        path = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
        try:
            statuses = self("get", "nodes", "-o", f"jsonpath={path}", timeout_seconds=10.0).split()
        except ClusterError:
            return False
        return bool(statuses) and set(statuses) == {"True"}

    def cluster_id(self) -> str:
        """The UID of kube-system, which no two clusters share."""
        return self("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}").strip()
