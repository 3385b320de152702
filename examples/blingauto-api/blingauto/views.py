"""The shapes that the API answers with, which are also the shapes that it caches.

A field without a default is required: the codec refuses a cached value that lacks it, has another type
or carries an unknown field, and nothing else in the package lists fields. What differs between two
releases differs here. Values know nothing of Redis, SQL or HTTP.
"""

from decimal import Decimal
from typing import Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Role = Literal["customer", "staff", "admin"]
Status = Literal["booked", "done", "cancelled"]
Tier = Literal["basic", "silver", "gold"]
_SILVER_FROM = Decimal(200)
_GOLD_FROM = Decimal(400)


class View(BaseModel):
    """An immutable value, read strictly: no coercion, no missing and no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class UserRecord(View):
    """A user as the database knows it, whatever the release shows of it."""

    id: int
    email: str
    role: Role
    name: str
    city: str
    revision: int
    updated_at: AwareDatetime
    bookings_count: int
    lifetime_value: Decimal
    city_rank: int


class User(View):
    """What every release shows of a user. `revision` grows with every write."""

    id: int
    email: str
    role: Role
    city: str
    revision: int
    updated_at: AwareDatetime
    bookings_count: int
    lifetime_value: Decimal
    city_rank: int

    @classmethod
    def from_record(cls, record: UserRecord) -> Self:
        """Build the release's view of `record`."""
        raise NotImplementedError


class UserV2(User):
    """Release v2: the name is called `name`."""

    name: str

    @classmethod
    def from_record(cls, record: UserRecord) -> Self:
        """The record's own fields."""
        return cls(**dict(record))


class UserV3(User):
    """Release v3: `name` became `full_name`, and `tier` is new. v2's values are not valid here."""

    full_name: str
    tier: Tier

    @classmethod
    def from_record(cls, record: UserRecord) -> Self:
        """The record's fields, renamed, and the tier that follows from them."""
        fields = dict(record)
        return cls(full_name=fields.pop("name"), tier=_tier(record.lifetime_value), **fields)


class Service(View):
    """Something that can be booked; reference data, changed by migrations only."""

    id: int
    name: str
    category: str
    price: Decimal
    duration_minutes: int
    bookings_count: int
    median_paid: Decimal | None = Field(description="Median price paid; null before any booking.")
    updated_at: AwareDatetime


class Booking(View):
    """One booking of one service."""

    id: UUID
    service_id: int
    service_name: str
    starts_at: AwareDatetime
    price: Decimal
    status: Status


class BookingList(View):
    """A user's latest bookings, and what people who booked the same also book."""

    user_id: int
    revision: int = Field(description="The user's revision at the time the list was read.")
    items: tuple[Booking, ...]
    recommended_service_ids: tuple[int, ...]


def _tier(lifetime_value: Decimal) -> Tier:
    if lifetime_value >= _GOLD_FROM:
        return "gold"
    return "silver" if lifetime_value >= _SILVER_FROM else "basic"
