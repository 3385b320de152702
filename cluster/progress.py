"""What is being done and how long it takes: a live line on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

# Below this a line at the end says enough in a log.
_WORTH_ANNOUNCING_SECONDS = 10.0
_REFRESH_SECONDS = 0.2


def duration(seconds: float) -> str:
    """Seconds for people: '4.2 s' or '4 min 30 s'."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class Progress:
    """Writes one line a step to `stream`; `is_live` says whether lines may be rewritten."""

    def __init__(self, stream: TextIO | None = None, *, is_live: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_live = self._stream.isatty() if is_live is None else is_live

    def note(self, text: str) -> None:
        """One line that is not a step."""
        print(f"  {text}", file=self._stream, flush=True)

    @contextmanager
    def step(self, title: str, expected_seconds: float) -> Iterator[None]:
        """Time the block; says '✗' and passes the error on when it fails."""
        started = time.monotonic()
        done = threading.Event()
        ticker = threading.Thread(
            target=self._tick, args=(title, expected_seconds, started, done), daemon=True
        )
        if self._is_live:
            ticker.start()
        elif expected_seconds >= _WORTH_ANNOUNCING_SECONDS:
            self.note(f"… {title} (about {duration(expected_seconds)})")
        mark = "✗"
        try:
            yield
            mark = "✓"
        finally:
            done.set()
            if self._is_live:
                ticker.join()
            self._finish(f"{mark} {title}", time.monotonic() - started)

    def _tick(self, title: str, expected: float, started: float, done: threading.Event) -> None:
        while not done.wait(_REFRESH_SECONDS):
            elapsed = duration(time.monotonic() - started)
            line = f"  … {title}  {elapsed} of about {duration(expected)}"
            self._stream.write(f"\r\033[K{line}")
            self._stream.flush()

    def _finish(self, line: str, elapsed_seconds: float) -> None:
        start = "\r\033[K" if self._is_live else ""
        self._stream.write(f"{start}  {line}  {duration(elapsed_seconds)}\n")
        self._stream.flush()
