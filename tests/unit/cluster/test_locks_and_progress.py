"""One worker at a time, and what a person reads meanwhile."""

import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cluster import locks
from cluster.commands import run, succeeds, wait_until
from cluster.errors import ClusterError
from cluster.progress import Progress, duration

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys
from pathlib import Path
from cluster.locks import exclusive
with exclusive(Path(sys.argv[1]), doing="cluster up"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "crnode.lock")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_worker_is_refused_and_told_who_is_first(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    with (
        holder,
        pytest.raises(ClusterError) as refusal,
        locks.exclusive(tmp_path / "crnode.lock", doing="cluster down"),
    ):
        pytest.fail("two workers at once")
    assert str(refusal.value) == (
        f"`cluster up` (process {holder.pid}) is at work on 'crnode' right now: "
        "wait until it is done, or use another --name"
    )


def test_a_killed_worker_holds_nothing(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    with holder:
        holder.kill()
    with locks.exclusive(tmp_path / "crnode.lock", doing="cluster down"):
        pass


def test_one_that_waits_gets_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "tools.lock"
    order: list[str] = []
    wants = threading.Event()

    def second() -> None:
        wants.set()
        with locks.exclusive(path, doing="second", waits=True):
            order.append("second")

    thread = threading.Thread(target=second)
    with locks.exclusive(path, doing="first"):
        thread.start()
        assert wants.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (4.25, "4.2 s"), (60, "1 min 00 s"), (270, "4 min 30 s")],
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_in_a_log_a_long_step_is_announced_and_a_short_one_is_not() -> None:
    stream = io.StringIO()
    progress = Progress(stream, is_live=False)
    with progress.step("boot", 3):
        pass
    with progress.step("build", 270):
        pass
    marks = [line.rstrip("0123456789. s") for line in stream.getvalue().splitlines()]
    assert marks == ["  ✓ boot", "  … build (about 4 min 30 s)", "  ✓ build"]


def test_a_failed_step_is_marked_and_the_error_goes_on() -> None:
    stream = io.StringIO()
    with pytest.raises(ClusterError), Progress(stream, is_live=False).step("boot", 1):
        raise ClusterError("no")
    assert "✗ boot" in stream.getvalue()


def test_a_failing_command_shows_itself_and_its_last_words() -> None:
    with pytest.raises(ClusterError, match=r"(?s)exit code 3.*of no use"):
        run(["sh", "-c", "echo of no use >&2; exit 3"])


def test_a_missing_program_says_how_to_get_it() -> None:
    with pytest.raises(ClusterError, match=r"not installed: run `python3 -m cluster tools`"):
        run(["no-such-program-anywhere"])
    assert not succeeds(["no-such-program-anywhere"])


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ClusterError, match="did not end within"):
        run(["sh", "-c", "exec sleep 60"], timeout_seconds=0.1)


def test_a_wait_ends_at_once_when_the_watched_process_is_dead() -> None:
    def dead() -> None:
        raise ClusterError("etcd has ended")

    with pytest.raises(ClusterError, match="etcd has ended"):
        wait_until(lambda: False, what="ready", timeout_seconds=60, watch=dead)


def test_a_wait_names_what_did_not_come() -> None:
    with pytest.raises(ClusterError, match="the node is Ready: not within 0 s"):
        wait_until(lambda: False, what="the node is Ready", timeout_seconds=0)
