"""A real API server that knows the definitions as they stand in the work tree."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


def _kubeconfig() -> Path | None:
    given = os.environ.get("CACHEROLLOUT_TEST_KUBECONFIG")
    path = Path(given) if given else ROOT / ".cluster/nodes/crnode/admin.kubeconfig"
    return path if path.is_file() else None


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Runs kubectl against the test cluster, with a resource or text as its standard input."""
    kubeconfig = _kubeconfig()
    if kubeconfig is None:
        pytest.skip("no cluster: run `python3 -m cluster up` first")

    def run(*arguments: str, given: Any = None) -> "subprocess.CompletedProcess[str]":
        text = given if given is None or isinstance(given, str) else json.dumps(given)
        return subprocess.run(
            ["kubectl", "--kubeconfig", str(kubeconfig), *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture(scope="session", autouse=True)
def _definitions(kubectl: Kubectl) -> None:
    applied = kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    assert applied.returncode == 0, applied.stderr
    names = ("crd/cacherollouts.cacherollout.io", "crd/cachebackends.cacherollout.io")
    ready = kubectl("wait", "--for=condition=Established", *names, "--timeout=20s")
    assert ready.returncode == 0, ready.stderr
