"""Running one operation of the engine at a terminal: progress, interruption, refusals.

Progress goes to stderr, so that stdout is the result alone: a bar on a terminal, else a line every
few seconds. An interrupted operation ends at a page's border; all of them may be run again.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import click
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cacherollout.cache import (
    CacheError,
    Progress,
    RefusedError,
    ServerFacts,
    missing_rights,
    probe,
)
from cacherollout.cli.cache_options import Target
from cacherollout.cli.cache_refusals import Refusal, refusal, replica
from cacherollout.cli.views import duration

_LOOK_SECONDS: Final = 0.2
_LINE_SECONDS: Final = 5.0
_STUCK_SECONDS: Final = 2.0
_BAR: Final = 30
_OF_CLUSTER: Final = frozenset({"CLUSTER NODES", "ASKING"})

ReportT = TypeVar("ReportT")
ReportT_co = TypeVar("ReportT_co", covariant=True)
Result = TypeVar("Result")


class Operation(Protocol[ReportT_co]):
    """Any operation of the engine."""

    @property
    def progress(self) -> Progress:
        """How far it is."""
        ...

    def run(self) -> Coroutine[Any, Any, ReportT_co]:
        """Do it."""
        ...


@dataclass(frozen=True, slots=True)
class Walked(Generic[ReportT]):
    """An operation that ended: its report, and how long it took."""

    report: ReportT
    progress: Progress
    seconds: float


class Session:
    """One command's dealings with one cache."""

    def __init__(self, target: Target, *, version: str, rights: Collection[str]) -> None:
        """`rights` are the commands that it will send, to say which one is refused."""
        self.target = target
        self._version = version
        self._rights = {"INFO", "DBSIZE", "SCAN", *_OF_CLUSTER, *rights}
        if "COPY" in rights:
            self._rights |= {"DUMP", "PEXPIRETIME", "RESTORE"}

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run `work`; errors of the engine and an interruption become one message and exit code."""
        try:
            return asyncio.run(self._told(work))
        except KeyboardInterrupt as error:
            raise _Interrupted("Stopped before anything was begun.") from error

    async def _told(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # narrows for the type checker
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return await work()
        except CacheError as error:
            raise refusal(error, self.target, await self._missing(error)) from error

    async def _missing(self, error: CacheError) -> tuple[str, ...]:
        if not (isinstance(error, RefusedError) and "NOPERM" in str(error)):
            return ()
        try:
            return await missing_rights(
                self.target.server,
                self.target.families,
                version=self._version,
                only=self._rights,
            )
        except CacheError:
            return ()

    async def facts(self, *, is_for_writing: bool) -> ServerFacts:
        """Look at the server once, without patience: a wrong address shows at once."""
        found = await probe(self.target.server)
        if is_for_writing and found.role != "master":
            raise replica(self.target)
        return found

    async def walk(self, verb: str, operation: Operation[ReportT]) -> Walked[ReportT]:
        """Run an operation and show how far it is; `verb` as in ``copying``."""
        began = time.monotonic()
        task = asyncio.ensure_future(operation.run())
        display = _display(verb)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_LOOK_SECONDS)
                display.show(operation.progress)
        except asyncio.CancelledError as error:
            progress = operation.progress
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, CacheError):
                await task
            raise _Interrupted(
                f"Stopped while {verb}: {_so_far(progress)} done in "
                f"{duration(time.monotonic() - began)}. Nothing is left half done; run the same "
                "command again to go on."
            ) from error
        finally:
            display.close()
        return Walked(task.result(), operation.progress, time.monotonic() - began)


class _Interrupted(Refusal):
    exit_code = 130

    def show(self, file: Any = None) -> None:
        click.echo(self.format_message(), file=file, err=True)


def _so_far(progress: Progress) -> str:
    total = f" of about {progress.total:,}" if progress.total else ""
    return f"{progress.done:,}{total} keys"


class _Display(Protocol):
    def show(self, progress: Progress) -> None: ...

    def close(self) -> None: ...


def _display(verb: str) -> _Display:
    return _Bar(verb) if sys.stderr.isatty() else _Lines(verb)


class _Stillness:
    """Notices that an operation does not get on, which is when it waits for the server."""

    def __init__(self) -> None:
        self._mark: object = None
        self._since = time.monotonic()

    def note(self, progress: Progress) -> str:
        """A remark where it has not moved for a while."""
        mark = (progress.done, progress.eta_seconds and progress.total)
        now = time.monotonic()
        if mark != self._mark:
            self._mark, self._since = mark, now
        still = now - self._since
        return f"no key for {still:.0f} s" if still >= _STUCK_SECONDS else ""


class _Bar:
    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._stillness = _Stillness()
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._live.start()

    def show(self, progress: Progress) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            Text(self._verb, style="bold"),
            ProgressBar(total=progress.total or 1, completed=progress.done, width=_BAR),
            Text(_line(progress, self._stillness.note(progress))),
        )
        self._live.update(grid, refresh=True)

    def close(self) -> None:
        self._live.stop()


class _Lines:
    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._stillness = _Stillness()
        self._shown_at = time.monotonic()

    def show(self, progress: Progress) -> None:
        note = self._stillness.note(progress)
        if time.monotonic() - self._shown_at >= _LINE_SECONDS:
            self._shown_at = time.monotonic()
            click.echo(f"{self._verb}: {_line(progress, note)}", err=True)

    def close(self) -> None:
        return


def _line(progress: Progress, note: str) -> str:
    if progress.total is None:
        return f"looking at the cache {note}".rstrip()
    percent = 100 * progress.done / progress.total if progress.total else 100
    parts = [
        f"{percent:.0f} % · {progress.done:,} of about {progress.total:,} keys",
        f"{progress.keys_per_second:,.0f} keys/s",
    ]
    if progress.eta_seconds is not None and not progress.is_finished:
        parts.append(f"{duration(progress.eta_seconds)} left")
    return " · ".join([*parts, note] if note else parts)
