"""The API's cached families: where their keys lie and which of them may be kept in memory.

L1 is on for services only: they are reference data that changes with migrations. Users and bookings
change by requests that any replica may take, and no replica can empty another one's memory.
"""

from dataclasses import dataclass
from typing import Any

from blingauto.cache.codec import Codec, JsonCodec
from blingauto.cache.families import Family
from blingauto.releases import Release
from blingauto.views import BookingList, Service, User

USER_KEY = "user:{version}:{id}"
SERVICE_KEY = "service:{version}:{id}"
BOOKINGS_KEY = "booking:{version}:list:{id}"
KEY_PATTERNS = (USER_KEY, SERVICE_KEY, BOOKINGS_KEY)


@dataclass(frozen=True, slots=True)
class Families:
    """One field a family."""

    user: Family[User]
    service: Family[Service]
    bookings: Family[BookingList]

    @property
    def changed_by_user_writes(self) -> tuple[Family[Any], ...]:
        """Every write to a user or their bookings makes both of these obsolete."""
        return (self.user, self.bookings)


def build_families(release: Release) -> Families:
    """The families as `release` reads and writes them."""
    user: Codec[User] = JsonCodec(release.user)
    return Families(
        user=Family("user", USER_KEY, user),
        service=Family("service", SERVICE_KEY, JsonCodec(Service), has_l1=True),
        bookings=Family("bookings", BOOKINGS_KEY, JsonCodec(BookingList)),
    )


FAMILY_NAMES = ("user", "service", "bookings")
