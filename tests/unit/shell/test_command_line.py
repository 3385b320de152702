import subprocess
import sys

import pytest
from click.testing import CliRunner

from cacherollout.cli import main


def test_watching_a_rollout_does_not_load_the_operator() -> None:
    program = (
        "import sys; from cacherollout.cli import main; "
        "main(['status', '--help'], standalone_mode=False); "
        "sys.exit(' '.join({'kopf', 'prometheus_client'} & sys.modules.keys()) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()


def test_every_command_is_there_and_explained() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    for name in main.list_commands(None):  # type: ignore[arg-type]
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Say which namespaces to serve"),
        (["run", "-A", "-n", "shop"], "Say which namespaces to serve"),
        (["run", "-n", "Shop"], "is not a namespace's name"),
        (["run", "-n", "shop", "--context", "x"], "context needs kubeconfig"),
        (["run", "-n", "shop", "--workers", "0"], "not in the range"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_a_wrong_call_is_refused_with_the_fix(arguments: list[str], said: str) -> None:
    ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 2
    assert said in ran.output
