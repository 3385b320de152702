"""What the API can do, with the cache in front of the origin. The only place that knows both.

Reads go through the cache; writes go to the origin, and after their commit the cached copies go.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from blingauto.cache.aside import CacheAside
from blingauto.families import Families
from blingauto.origin import Origin, UserChanges
from blingauto.views import BookingList, Service, User


@dataclass(frozen=True, slots=True)
class Catalog:
    """Users, services and bookings. Everything may raise `DatabaseUnavailableError`."""

    cache: CacheAside
    origin: Origin
    families: Families
    user_view: type[User]

    async def user(self, user_id: int) -> User | None:
        """One user, or None."""
        return await self.cache.get(self.families.user, user_id, lambda: self._load_user(user_id))

    async def service(self, service_id: int) -> Service | None:
        """One service, or None."""
        return await self.cache.get(
            self.families.service, service_id, lambda: self.origin.service(service_id)
        )

    async def bookings(self, user_id: int) -> BookingList | None:
        """A user's latest bookings, or None if there is no such user."""
        return await self.cache.get(
            self.families.bookings, user_id, lambda: self.origin.bookings(user_id)
        )

    async def most_active_user_ids(self, limit: int) -> list[int]:
        """The users with the most bookings, for the warm-up."""
        return await self.origin.most_active_user_ids(limit)

    async def change_user(self, user_id: int, changes: UserChanges) -> int | None:
        """Change a user; their new revision, or None if there is no such user."""
        revision = await self.origin.change_user(user_id, changes)
        if revision is not None:
            await self._forget(user_id)
        return revision

    async def book(
        self, user_id: int, service_id: int, starts_at: datetime
    ) -> tuple[UUID, int] | None:
        """Book a service; the booking's id and the user's new revision, or None."""
        booked = await self.origin.add_booking(user_id, service_id, starts_at)
        if booked is not None:
            await self._forget(user_id)
        return booked

    async def _load_user(self, user_id: int) -> User | None:
        record = await self.origin.user(user_id)
        return None if record is None else self.user_view.from_record(record)

    async def _forget(self, user_id: int) -> None:
        # The figures of a service and the ranks of others may lag by a TTL; that is accepted.
        await self.cache.invalidate(self.families.changed_by_user_writes, user_id)
