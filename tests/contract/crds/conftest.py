"""A real API server that knows the definitions as they stand in the work tree."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def kubectl(kubeconfig: Path) -> Kubectl:
    """Runs kubectl against the test cluster, with a resource or text as its standard input."""

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
def _definitions(definitions: None) -> None:
    """Nothing here makes sense without them."""
