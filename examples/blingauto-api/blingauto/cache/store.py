"""Redis behind a deadline, a circuit breaker and counters.

Every call ends within `timeout_seconds`, whatever Redis does, and fails in one way only:
`StoreUnavailableError`. The caller then answers from the origin.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from blingauto.cache.breaker import CircuitBreaker
from blingauto.cache.codec import CorruptValueError
from blingauto.cache.instruments import CacheInstruments, ErrorKind, Operation

T = TypeVar("T")


class StoreUnavailableError(Exception):
    """Redis did not answer, or is not being asked because it did not answer before."""


class Client(Protocol):
    """The part of `redis.asyncio.Redis` that a cache needs."""

    def get(self, name: str, /) -> Awaitable[Any]:
        """The stored bytes, or None."""

    def set(self, name: str, value: bytes, /, *, px: int) -> Awaitable[Any]:
        """Store for `px` milliseconds."""

    def delete(self, /, *names: str) -> Awaitable[Any]:
        """Delete keys in one command."""


class RedisStore:
    """Bytes under string keys."""

    def __init__(
        self,
        client: Client,
        *,
        instruments: CacheInstruments,
        timeout_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._instruments = instruments
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._breaker = CircuitBreaker(clock)

    @property
    def is_available(self) -> bool:
        """False while the circuit breaker keeps calls away."""
        return not self._breaker.is_open

    async def get(self, family: str, key: str) -> bytes | None:
        """Read one key; raises `StoreUnavailableError`, or `CorruptValueError` if it is no string."""
        data: bytes | None = await self._call(family, "get", lambda: self._client.get(key))
        return data

    async def set(self, family: str, key: str, data: bytes, ttl_seconds: float) -> None:
        """Store one key with a TTL; raises `StoreUnavailableError`."""
        milliseconds = max(1, round(ttl_seconds * 1_000))
        await self._call(family, "set", lambda: self._client.set(key, data, px=milliseconds))

    async def delete(self, family: str, keys: Sequence[str]) -> None:
        """Delete keys in one command; raises `StoreUnavailableError`."""
        await self._call(family, "delete", lambda: self._client.delete(*keys))

    async def _call(
        self, family: str, operation: Operation, command: Callable[[], Awaitable[T]]
    ) -> T:
        if not self._breaker.may_pass():
            raise StoreUnavailableError("the circuit breaker is open")
        started_at = self._clock()
        try:
            # One deadline around all of it: waiting for a connection, connecting, sending, reading.
            async with asyncio.timeout(self._timeout_seconds):
                result = await command()
        except (TimeoutError, RedisTimeoutError) as error:
            raise self._failed(family, "timeout") from error
        except (RedisError, OSError) as error:
            if isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE"):
                self._breaker.succeeded()
                raise CorruptValueError("decode", "the key holds no string") from error
            raise self._failed(family, "connection") from error
        finally:
            self._instruments.operated(family, operation, self._clock() - started_at)
        self._breaker.succeeded()
        return result

    def _failed(self, family: str, kind: ErrorKind) -> StoreUnavailableError:
        self._breaker.failed()
        self._instruments.failed(family, kind)
        return StoreUnavailableError(kind)
