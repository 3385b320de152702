"""The commands of docs/how-to/see-a-rollout-first.md, run as they stand there, with their output."""

import re
import shlex
from pathlib import Path

import pytest

from cacherollout.cli.plan_inputs import Load
from tests.unit.cli.conftest import call

PAGE = (Path(__file__).parents[3] / "docs/how-to/see-a-rollout-first.md").read_text(
    encoding="utf-8"
)
FENCE = re.compile(r"^```console\n\$ cacherollout (plan .*)\n((?:.*\n)*?)^```", re.MULTILINE)
COMMANDS = FENCE.findall(PAGE)


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A terminal of 100 columns in a folder with the page's file."""
    (described,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "shop.yaml").write_text(described, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize(("command", "shown"), COMMANDS)
def test_a_command_prints_what_the_page_shows(command: str, shown: str) -> None:
    ran = call(*shlex.split(command))
    assert lines(ran.output) == lines(shown)


def test_the_commands_were_found_and_draw_what_they_say(desk: Path) -> None:
    assert len(COMMANDS) == 3
    (drawing,) = [command for command, _ in COMMANDS if "--svg" in command]
    call(*shlex.split(drawing))
    assert {path.name for path in desk.iterdir()} == {"shop.yaml", "plan.svg", "plan.html"}


def test_every_field_of_the_load_is_described() -> None:
    section = PAGE.partition("### The document `load:`")[2].partition("## At any size")[0]
    described = set(
        re.findall(r"`([a-zA-Z]+)`", "".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)))
    )
    assert described == {field.alias for field in Load.model_fields.values()}
