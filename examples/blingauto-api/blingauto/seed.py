"""Fills an empty database, once, however many replicas start together.

The rows are made by PostgreSQL itself (`generate_series`), in one transaction under an advisory lock:
whoever comes second waits and finds the work done. Real services use migrations instead.
"""

import logging
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from blingauto.database import Database
from blingauto.tables import Table

_LOGGER = logging.getLogger(__name__)
_LOCK = 7_264_001  # any number that nothing else in this database locks
_CITIES = 40

_USERS = """
INSERT INTO users (id, email, name, role, city, revision, updated_at)
SELECT i, 'user' || i || '@example.com', 'User ' || i,
       CASE WHEN i % 1000 = 0 THEN 'admin' WHEN i % 50 = 0 THEN 'staff' ELSE 'customer' END,
       'city-' || i % :cities, 1, now()
FROM generate_series(1, CAST(:users AS bigint)) AS i
"""
_SERVICES = """
INSERT INTO services (id, name, category, price, duration_minutes, updated_at)
SELECT i, 'Service ' || i, 'category-' || i % 8, 15 + i % 80, 15 * (1 + i % 6), now()
FROM generate_series(1, CAST(:services AS bigint)) AS i
"""
# The multipliers are primes: they spread bookings over users and services without an order.
_BOOKINGS = """
INSERT INTO bookings (user_id, service_id, starts_at, price, status)
SELECT 1 + (i * 7919) % :users, 1 + (i * 104729 + i / :users * 137) % :services,
       date_trunc('hour', now()) - (i % 365) * interval '1 day', 15 + i % 80 + 0.5,
       CASE i % 10 WHEN 0 THEN 'cancelled' WHEN 1 THEN 'booked' ELSE 'done' END
FROM generate_series(1, CAST(:bookings AS bigint)) AS i
"""


@dataclass(frozen=True, slots=True)
class SeedSize:
    """How many rows of each kind."""

    users: int
    services: int
    bookings: int


async def seed_database(database: Database, size: SeedSize) -> bool:
    """Create the tables and their rows if there are none; True if this call did it.

    Raises `DatabaseUnavailableError`; nothing is half done then.
    """
    async with database.write() as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if await connection.scalar(text("SELECT to_regclass('bookings') IS NOT NULL")):
            return False
        await _fill(connection, size)
    _LOGGER.info("database seeded users=%d bookings=%d", size.users, size.bookings)
    return True


async def _fill(connection: AsyncConnection, size: SeedSize) -> None:
    await connection.run_sync(Table.metadata.create_all)
    await connection.execute(text(_USERS), {"users": size.users, "cities": _CITIES})
    await connection.execute(text(_SERVICES), {"services": size.services})
    await connection.execute(
        text(_BOOKINGS),
        {"bookings": size.bookings, "users": size.users, "services": size.services},
    )
    await connection.execute(text("ANALYZE"))
