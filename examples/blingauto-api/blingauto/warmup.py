"""Optional warm-up on start: fill the most active users and the services before taking traffic.

Bounded in number and time, one read at a time, and content with whatever it reached: it must never
keep a pod from starting. Keys that another replica filled already cost one GET each.
"""

import asyncio
import logging
from dataclasses import dataclass

from blingauto.catalog import Catalog
from blingauto.database import DatabaseUnavailableError

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How much to warm: the first `users` users by bookings, for at most `seconds`."""

    users: int
    seconds: float


async def warm_up(catalog: Catalog, plan: WarmUp) -> int:
    """Read through the cache until done, out of time or refused; the number of values warmed."""
    warmed = 0
    try:
        async with asyncio.timeout(plan.seconds):
            for user_id in await catalog.most_active_user_ids(plan.users):
                await catalog.user(user_id)
                await catalog.bookings(user_id)
                warmed += 2
    except (TimeoutError, DatabaseUnavailableError) as error:
        _LOGGER.info("warm-up ended early after %d values: %s", warmed, type(error).__name__)
    return warmed
