"""The real API server that these tests run against, with the definitions of the work tree."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """Of the cluster that the environment names, or of the project's own."""
    given = os.environ.get("CACHEROLLOUT_TEST_KUBECONFIG")
    path = Path(given) if given else ROOT / ".cluster/nodes/crnode/admin.kubeconfig"
    if not path.is_file():
        pytest.skip("no cluster: run `make cluster-up` first")
    return path


@pytest.fixture(scope="session")
def definitions(kubeconfig: Path) -> None:
    """The API server knows the definitions as they stand in the work tree."""
    names = ("crd/cacherollouts.cacherollout.io", "crd/cachebackends.cacherollout.io")
    for arguments in (
        ("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds")),
        ("wait", "--for=condition=Established", *names, "--timeout=20s"),
    ):
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(kubeconfig), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
