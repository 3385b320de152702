"""One worker at a time on a node or a cache: flock, so that a dead holder holds nothing."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.errors import ClusterError


@contextmanager
def exclusive(path: Path, *, doing: str, waits: bool = False) -> Iterator[None]:
    """Hold the lock file for the length of the block.

    `doing` is written into the file for whoever comes second. With `waits` that one waits its turn;
    otherwise it gets a ClusterError that says who is at work.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            if not waits:
                raise ClusterError(
                    f"{holder} is at work on {path.stem!r} right now: "
                    "wait until it is done, or use another --name"
                ) from None
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"`{doing}` (process {os.getpid()})")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
