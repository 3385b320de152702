"""The work queue: which object is looked at next, and the workers that look.

Level-triggered: an event says only *which* object, never *what*. A key waits at most once, is
worked by one worker at a time, and a key added while it is being worked is worked again. Knows
neither Kubernetes nor the core; runs on the clock of the event loop.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from cacherollout.api.names import Key

log = logging.getLogger(__name__)

BACKOFF_BASE_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended and when the next is due."""

    result: str
    """One word for the metrics."""
    requeue_seconds: float | None = None
    """Look again after so long; None waits for an event. After a failure: the least delay."""
    is_failure: bool = False
    """Failures of one key in a row wait longer and longer."""


class QueueWatcher(Protocol):
    """Is told what happens in the queue, for the metrics."""

    def added(self) -> None:
        """A key was put into the queue."""
        ...

    def retried(self) -> None:
        """A key waits because its pass failed."""
        ...

    def depth(self, keys: int) -> None:
        """So many keys wait for a worker now."""
        ...


class WorkQueue:
    """Keys that want a pass, each at most once; delayed keys; a growing delay per failing key."""

    def __init__(
        self, watcher: QueueWatcher | None = None, rng: random.Random | None = None
    ) -> None:
        self._ready: asyncio.Queue[Key | None] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._active: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._watcher = watcher
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._is_closed = False

    def __len__(self) -> int:
        """Keys that want a pass now."""
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Ask for a pass as soon as a worker is free; takes the place of a delayed one."""
        self._cancel(key)
        if key in self._waiting or self._is_closed:
            return
        self._waiting.add(key)
        if key not in self._active:  # else done() puts it back
            self._ready.put_nowait(key)
        if self._watcher:
            self._watcher.added()
        self._tell_depth()

    def add_after(self, key: Key, delay_seconds: float) -> None:
        """Ask for a pass later; of several delays the earliest holds."""
        if delay_seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_seconds
        earlier = self._timers.get(key)
        if key in self._waiting or self._is_closed or (earlier and earlier.when() <= due):
            return
        self._cancel(key)
        self._timers[key] = loop.call_at(due, self.add, key)

    def add_failed(self, key: Key, at_least_seconds: float = 0.0) -> float:
        """Ask for a pass after a delay that doubles with every failure; gives the delay."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        full = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** min(failures - 1, 16))
        delay = max(full * self._rng.uniform(0.5, 1.0), at_least_seconds)
        if self._watcher:
            self._watcher.retried()
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: Key) -> None:
        """Start the delays of a key from the beginning."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key that no longer exists."""
        self._cancel(key)
        self._failures.pop(key, None)

    async def get(self) -> Key | None:
        """The next key, now this worker's alone until `done`; None when the queue is closed."""
        key = await self._ready.get()
        if key is None or self._is_closed:
            self._ready.put_nowait(None)  # for the next worker
            return None
        self._waiting.discard(key)
        self._active.add(key)
        self._tell_depth()
        return key

    def done(self, key: Key) -> None:
        """The pass of a key has ended; a key added meanwhile is up again."""
        self._active.discard(key)
        if key in self._waiting:
            self._ready.put_nowait(key)

    def close(self) -> None:
        """Give out no more keys; passes under way may end."""
        self._is_closed = True
        for key in list(self._timers):
            self._cancel(key)
        self._ready.put_nowait(None)

    def _cancel(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()

    def _tell_depth(self) -> None:
        if self._watcher:
            self._watcher.depth(len(self._waiting))


class Workers:
    """A bounded number of workers; no key, however bad, stops any of them."""

    def __init__(
        self,
        queue: WorkQueue,
        reconcile: Callable[[Key], Awaitable[Outcome]],
        *,
        count: int = 8,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._count = count
        self._timeout_seconds = timeout_seconds

    async def run(self) -> None:
        """Work until the queue is closed and the passes under way have ended."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._work(), name=f"worker-{number}")

    async def _work(self) -> None:
        while (key := await self._queue.get()) is not None:
            try:
                await self._pass(key)
            finally:
                self._queue.done(key)

    async def _pass(self, key: Key) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                outcome = await self._reconcile(key)
        except TimeoutError:
            delay = self._queue.add_failed(key)
            log.warning(
                "A pass of %s took longer than %.0f s and was cut off; next try in %.1f s.",
                key,
                self._timeout_seconds,
                delay,
            )
        except Exception:
            # Whatever it is, it is this key's alone: the workers serve the others.
            delay = self._queue.add_failed(key)
            log.exception("A pass of %s failed unexpectedly; next try in %.1f s.", key, delay)
        else:
            self._schedule(key, outcome)

    def _schedule(self, key: Key, outcome: Outcome) -> None:
        if outcome.is_failure:
            self._queue.add_failed(key, outcome.requeue_seconds or 0.0)
            return
        self._queue.succeeded(key)
        if outcome.requeue_seconds is not None:
            self._queue.add_after(key, outcome.requeue_seconds)
