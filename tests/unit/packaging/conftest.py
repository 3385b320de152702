"""The chart, rendered as users render it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/cacherollout"
Manifests = list[dict[str, Any]]
Render = Callable[..., Manifests]
Helm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Runs helm, the one that the cluster tools built or else the one on PATH."""
    built = ROOT / ".cluster/bin/helm"
    program = str(built) if built.exists() else shutil.which("helm")
    if program is None:
        pytest.skip("no helm: run `make cluster-tools` first")

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=30, check=False
        )

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """The manifests of release `cacherollout` in namespace `team`, with `--set` of each value."""

    def rendered(*values: str, options: tuple[str, ...] = ()) -> Manifests:
        sets = [argument for value in values for argument in ("--set", value)]
        answer = helm("template", "cacherollout", str(CHART), "-n", "team", *sets, *options)
        assert answer.returncode == 0, answer.stderr
        return [each for each in yaml.safe_load_all(answer.stdout) if each]

    return rendered
