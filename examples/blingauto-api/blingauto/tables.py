"""The database's tables. Both releases use the same ones: expand first, contract releases later."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, Numeric, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    """Registry of the tables below."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own interface
        datetime: DateTime(timezone=True),
        Decimal: Numeric(10, 2),
        int: BigInteger,
    }


class UserRow(Table):
    """A customer or a member of staff. `revision` grows by one with every write of theirs."""

    __tablename__ = "users"
    __table_args__ = (Index("users_city", "city"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    city: Mapped[str]
    revision: Mapped[int]
    updated_at: Mapped[datetime]


class ServiceRow(Table):
    """Something that can be booked."""

    __tablename__ = "services"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    category: Mapped[str]
    price: Mapped[Decimal]
    duration_minutes: Mapped[int]
    updated_at: Mapped[datetime]


class BookingRow(Table):
    """One booking."""

    __tablename__ = "bookings"
    __table_args__ = (
        Index("bookings_user", "user_id", "starts_at"),
        Index("bookings_service", "service_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    service_id: Mapped[int] = mapped_column(ForeignKey("services.id"))
    starts_at: Mapped[datetime]
    price: Mapped[Decimal]
    status: Mapped[str]
