"""Single flight: many tasks that miss the same key at once cause one load.

It holds within one process; with n replicas a hot key can cost n loads, not n hundred.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Loads under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[str, asyncio.Task[T]] = {}

    async def join(self, key: str, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the load under way for `key`, or of a new one; errors reach every waiter.

        A waiter that is cancelled leaves the load running for the others.
        """
        task = self._flights.get(key)
        if task is None:
            task = asyncio.create_task(start())
            self._flights[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await _shielded(task)

    def forget(self, key: str) -> None:
        """Let later callers start afresh: what is under way may have read before a write."""
        self._flights.pop(key, None)

    def is_current(self, key: str) -> bool:
        """False inside a load that was forgotten, whose result must therefore not be stored."""
        return self._flights.get(key) is asyncio.current_task()

    def _landed(self, key: str, task: asyncio.Task[T]) -> None:
        if self._flights.get(key) is task:
            del self._flights[key]
        if not task.cancelled():
            # Marks the error as seen when every waiter was cancelled before it came.
            task.exception()


def _shielded(task: asyncio.Task[T]) -> Awaitable[T]:
    return asyncio.shield(task)
