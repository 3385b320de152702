"""The programs that the demo types, as a user would type them."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "shop"
OPERATOR_NAMESPACE = "cacherollout-system"


class DemoError(Exception):
    """A step of the demo did not work; the text says which, and what the program answered."""


@dataclass(frozen=True, slots=True)
class Programs:
    """kubectl and helm against one cluster."""

    kubeconfig: Path
    helm: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the shop's namespace and give what it printed."""
        return self._run(["kubectl", "-n", NAMESPACE, *arguments], stdin)

    def read(self, *arguments: str) -> Any:
        """What `kubectl get … -o json` says."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def run_helm(self, *arguments: str) -> str:
        """Run helm and give what it printed."""
        return self._run([self.helm, *arguments], None)

    def environment(self) -> dict[str, str]:
        """Environment that points every program at the cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def _run(self, command: list[str], stdin: str | None) -> str:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            shown = " ".join(command)
            raise DemoError(f"`{shown}` failed:\n{done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def find_programs(cluster: str) -> Programs:
    """The cluster that `make cluster-up` made, and the helm that `cluster tools` built."""
    done = subprocess.run(
        ["python3", "-m", "cluster", "kubeconfig", "--name", cluster],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError("There is no cluster; `make cluster-up` makes one.")
    helm = ROOT / ".cluster" / "bin" / "helm"
    return Programs(Path(done.stdout.strip()), str(helm) if helm.exists() else "helm")
