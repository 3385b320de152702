"""The connection to PostgreSQL: one small pool a process, and one error when it cannot serve.

The pool is the bulkhead: a request waits for a connection for a fraction of a second, then it is
answered with 503, so that an overloaded database sheds load instead of queueing it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine


class DatabaseUnavailableError(Exception):
    """No connection in time, a statement ran out of time, or the server is gone."""


class Database:
    """Connections for single reads and for transactions."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        pool_timeout_seconds: float,
        statement_timeout_seconds: float,
    ) -> None:
        self._engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_seconds,
            pool_pre_ping=True,
            connect_args={
                "timeout": 2.0,
                "server_settings": {
                    "application_name": "blingauto-api",
                    "statement_timeout": str(round(statement_timeout_seconds * 1_000)),
                    "timezone": "UTC",
                },
            },
        )
        # One statement needs no BEGIN and no ROLLBACK: two round trips less for each miss.
        self._readers = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one SELECT; raises `DatabaseUnavailableError`."""
        async with _translated(), self._readers.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end; raises `DatabaseUnavailableError`."""
        async with _translated(), self._engine.begin() as connection:
            yield connection

    async def ping(self) -> None:
        """Raises `DatabaseUnavailableError` if the database does not answer."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (IntegrityError, DataError, ProgrammingError):
        raise  # the request's fault or ours, not the database's
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError("no free connection in time") from error
    # asyncpg reports a refused or timed out connection as OSError.
    except (DBAPIError, OSError) as error:
        raise DatabaseUnavailableError(type(error).__name__) from error
