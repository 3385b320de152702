"""The origin: what the cache spares. Reads for misses, and the writes.

Its queries are real ones, joins and aggregates that cost some milliseconds of the database's time;
that cost is why the cache exists. Each read is counted: it is what a cold cache multiplies. Knows
nothing of the cache.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from blingauto.database import Database
from blingauto.tables import BookingRow, ServiceRow, UserRow
from blingauto.views import Booking, BookingList, Service, UserRecord

# A user, with their rank by spending among the customers of their city.
_USER = text("""
WITH spend AS (
    SELECT u.id, count(b.id) AS bookings_count,
           coalesce(sum(b.price) FILTER (WHERE b.status <> 'cancelled'), 0) AS lifetime_value
    FROM users u LEFT JOIN bookings b ON b.user_id = u.id
    WHERE u.city = (SELECT city FROM users WHERE id = :id)
    GROUP BY u.id
)
SELECT u.id, u.email, u.role, u.name, u.city, u.revision, u.updated_at, s.bookings_count,
       s.lifetime_value, (SELECT count(*) + 1 FROM spend o
                          WHERE o.lifetime_value > s.lifetime_value) AS city_rank
FROM users u JOIN spend s ON s.id = u.id
WHERE u.id = :id
""")
_SERVICE = text("""
SELECT s.id, s.name, s.category, s.price, s.duration_minutes, s.updated_at,
       count(b.id) AS bookings_count,
       CAST(percentile_cont(0.5) WITHIN GROUP (ORDER BY b.price) AS numeric(10, 2)) AS median_paid
FROM services s LEFT JOIN bookings b ON b.service_id = s.id AND b.status <> 'cancelled'
WHERE s.id = :id
GROUP BY s.id
""")
# Revision and items come from one statement, hence from one snapshot.
_BOOKINGS = text("""
SELECT u.revision, b.id, b.service_id, s.name AS service_name, b.starts_at, b.price, b.status
FROM users u
LEFT JOIN LATERAL (SELECT * FROM bookings WHERE user_id = u.id
                   ORDER BY starts_at DESC, id LIMIT 20) b ON true
LEFT JOIN services s ON s.id = b.service_id
WHERE u.id = :id
ORDER BY b.starts_at DESC, b.id
""")
# What the latest customers of a user's latest services book besides them. Every part is bounded:
# a customer who books all day must not make each read of their list dearer than the last.
_RECOMMENDED = text("""
WITH mine AS (
    SELECT DISTINCT service_id
    FROM (SELECT service_id FROM bookings WHERE user_id = :id
          ORDER BY starts_at DESC, id LIMIT 5) latest
)
SELECT other.service_id
FROM mine
CROSS JOIN LATERAL (SELECT user_id FROM bookings
                    WHERE service_id = mine.service_id AND user_id <> :id
                    ORDER BY starts_at DESC LIMIT 200) peer
CROSS JOIN LATERAL (SELECT service_id FROM bookings WHERE user_id = peer.user_id
                    ORDER BY starts_at DESC LIMIT 5) other
WHERE other.service_id NOT IN (SELECT service_id FROM mine)
GROUP BY other.service_id
ORDER BY count(*) DESC, other.service_id
LIMIT 5
""")


@dataclass(frozen=True, slots=True)
class UserChanges:
    """The fields of a user that a request may change; None leaves a field as it is."""

    name: str | None = None
    city: str | None = None


class Origin:
    """Reads and writes of PostgreSQL. All raise `DatabaseUnavailableError`."""

    def __init__(self, database: Database, registry: CollectorRegistry, version: str) -> None:
        self._database = database
        self._version = version
        self._queries = Counter(
            "origin_queries_total",
            "Reads of the database because a lookup was no hit.",
            ("version", "family"),
            registry=registry,
        )
        self._durations = Histogram(
            "origin_query_duration_seconds",
            "Wall time of those reads, waiting for a connection and failed ones included.",
            ("version", "family"),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=registry,
        )
        for family in ("user", "service", "bookings"):
            self._queries.labels(version, family)

    async def user(self, user_id: int) -> UserRecord | None:
        """One user with their rank, or None."""
        with self._counted("user"):
            async with self._database.read() as connection:
                row = (await connection.execute(_USER, {"id": user_id})).mappings().first()
        return None if row is None else UserRecord.model_validate(dict(row))

    async def service(self, service_id: int) -> Service | None:
        """One service with its figures, or None."""
        with self._counted("service"):
            async with self._database.read() as connection:
                row = (await connection.execute(_SERVICE, {"id": service_id})).mappings().first()
        return None if row is None else Service.model_validate(dict(row))

    async def bookings(self, user_id: int) -> BookingList | None:
        """A user's latest bookings and recommendations, or None if there is no such user."""
        with self._counted("bookings"):
            async with self._database.read() as connection:
                parameters = {"id": user_id}
                rows = (await connection.execute(_BOOKINGS, parameters)).mappings().all()
                recommended = (await connection.execute(_RECOMMENDED, parameters)).scalars().all()
        if not rows:
            return None
        revision = rows[0]["revision"]
        items = [dict(row) for row in rows if row["id"] is not None]
        for item in items:
            del item["revision"]
        return BookingList(
            user_id=user_id,
            revision=revision,
            items=tuple(Booking.model_validate(item) for item in items),
            recommended_service_ids=tuple(recommended),
        )

    async def most_active_user_ids(self, limit: int) -> list[int]:
        """The users with the most bookings, most first."""
        statement = (
            select(BookingRow.user_id)
            .group_by(BookingRow.user_id)
            .order_by(func.count().desc(), BookingRow.user_id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return list((await connection.execute(statement)).scalars())

    async def change_user(self, user_id: int, changes: UserChanges) -> int | None:
        """Change a user; their new revision, or None if there is no such user."""
        fields = {"name": changes.name, "city": changes.city}
        given = {name: value for name, value in fields.items() if value is not None}
        async with self._database.write() as connection:
            return await _advance(connection, user_id, given)

    async def add_booking(
        self, user_id: int, service_id: int, starts_at: datetime
    ) -> tuple[UUID, int] | None:
        """Book; the booking's id and the user's new revision, or None if one does not exist."""
        async with self._database.write() as connection:
            price = await connection.scalar(
                select(ServiceRow.price).where(ServiceRow.id == service_id)
            )
            revision = None if price is None else await _advance(connection, user_id, {})
            if price is None or revision is None:
                return None
            booking_id = await connection.scalar(
                insert(BookingRow)
                .values(
                    user_id=user_id,
                    service_id=service_id,
                    starts_at=starts_at,
                    price=price,
                    status="booked",
                )
                .returning(BookingRow.id)
            )
            if booking_id is None:
                raise RuntimeError("INSERT … RETURNING returned no row")
            return booking_id, revision

    @contextmanager
    def _counted(self, family: str) -> Iterator[None]:
        self._queries.labels(self._version, family).inc()
        started_at = perf_counter()
        try:
            yield
        finally:
            self._durations.labels(self._version, family).observe(perf_counter() - started_at)


async def _advance(
    connection: AsyncConnection, user_id: int, changes: dict[str, Any]
) -> int | None:
    """The row's lock orders the writes of one user, so revisions grow in commit order."""
    revision: int | None = await connection.scalar(
        update(UserRow)
        .where(UserRow.id == user_id)
        .values(revision=UserRow.revision + 1, updated_at=text("now()"), **changes)
        .returning(UserRow.revision)
    )
    return revision
