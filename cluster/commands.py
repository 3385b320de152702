"""Running other programs and waiting for conditions, with errors that show what went wrong."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from cluster.errors import ClusterError

_SHOWN_LINES = 15
_POLL_SECONDS = 0.1


def run(
    command: Sequence[str],
    *,
    text: str | None = None,
    stdin: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout_seconds: float = 60.0,
) -> str:
    """Run to the end and return standard output; ClusterError with the last lines if it fails.

    `text` or the open file `stdin` is fed to it; `environment` is added to our own.
    """
    source = subprocess.PIPE if text is not None else (stdin or subprocess.DEVNULL)
    try:
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            cwd=folder,
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"{command[0]} is not installed: run `python3 -m cluster tools`"
        ) from error
    with process:
        try:
            data = text.encode() if text is not None else None
            output, errors = process.communicate(data, timeout=timeout_seconds)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise ClusterError(
                f"`{shlex.join(command)}` did not end within {timeout_seconds:.0f} s"
            ) from error
    if process.returncode != 0:
        shown = (errors or output).decode(errors="replace")
        raise ClusterError(
            f"`{shlex.join(command)}` failed with exit code {process.returncode}:\n{tail(shown)}"
        )
    return output.decode(errors="replace")


def succeeds(command: Sequence[str], *, timeout_seconds: float = 10.0) -> bool:
    """Whether the command ends well within the time; a missing program counts as no."""
    try:
        run(command, timeout_seconds=timeout_seconds)
    except ClusterError:
        return False
    return True


def tail(output: str) -> str:
    """The last lines of an output, indented to stand under a message."""
    return "\n".join(f"    {line}" for line in output.strip().splitlines()[-_SHOWN_LINES:])


def wait_until(
    is_true: Callable[[], bool],
    *,
    what: str,
    timeout_seconds: float,
    watch: Callable[[], None] | None = None,
) -> None:
    """Poll until the condition holds; ClusterError naming `what` when the time is over.

    `watch` is called before each look and may raise, so that a dead process ends the wait at once.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        if watch is not None:
            watch()
        if is_true():
            return
        if time.monotonic() >= deadline:
            raise ClusterError(f"{what}: not within {timeout_seconds:.0f} s")
        time.sleep(_POLL_SECONDS)
