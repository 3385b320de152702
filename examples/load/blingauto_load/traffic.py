"""Which requests arrive, and when: Poisson arrivals, Zipf popularity, a few writes.

Deterministic for a given seed; knows nothing of HTTP clients or clocks.
"""

import bisect
import itertools
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["user", "bookings", "service", "change", "book"]
# Shares of the reads; the writes are taken off first.
_READS: tuple[tuple[Kind, float], ...] = (("user", 0.5), ("bookings", 0.3), ("service", 0.2))
_CHANGE_SHARE_OF_WRITES = 0.6
_STARTS_AT = datetime(2030, 1, 1, 9, tzinfo=UTC).isoformat()


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `entity_id` is the service's id for kind `service`, else the user's."""

    kind: Kind
    method: Literal["GET", "PUT", "POST"]
    path: str
    entity_id: int
    body: dict[str, Any] | None = None


class Zipf:
    """Ranks 1…n, rank k with a weight of 1/k^exponent, spread over ids without an order."""

    def __init__(self, size: int, exponent: float, rng: random.Random) -> None:
        weights = (1 / rank**exponent for rank in range(1, size + 1))
        self._cumulated = list(itertools.accumulate(weights))
        self._ids = list(range(1, size + 1))
        random.Random(size).shuffle(self._ids)  # noqa: S311 - the same order in every run
        self._rng = rng

    def draw(self) -> int:
        """The id of one arrival."""
        point = self._rng.random() * self._cumulated[-1]
        return self._ids[bisect.bisect_left(self._cumulated, point)]

    def most_popular_first(self) -> list[int]:
        """Every id, the most popular first."""
        return list(self._ids)


class Traffic:
    """An endless stream of arrivals."""

    def __init__(
        self, *, users: int, services: int, exponent: float, write_percent: float, seed: int
    ) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self.users = Zipf(users, exponent, self._rng)
        self.services = Zipf(services, exponent, self._rng)
        self._write_share = write_percent / 100

    def gap_seconds(self, requests_per_second: float) -> float:
        """The time until the next arrival."""
        return self._rng.expovariate(requests_per_second)

    def next_request(self) -> Request:
        """The next arrival."""
        if self._rng.random() < self._write_share:
            return self._next_write()
        kinds, shares = zip(*_READS, strict=True)
        kind = self._rng.choices(kinds, shares)[0]
        return read_of(kind, (self.services if kind == "service" else self.users).draw())

    def _next_write(self) -> Request:
        user_id = self.users.draw()
        if self._rng.random() < _CHANGE_SHARE_OF_WRITES:
            body: dict[str, Any] = {"name": f"Name {self._rng.randrange(10**6)}"}
            return Request("change", "PUT", f"/api/users/{user_id}", user_id, body)
        body = {
            "user_id": user_id,
            "service_id": self.services.draw(),
            "starts_at": _STARTS_AT,
        }
        return Request("book", "POST", "/api/bookings", user_id, body)


def read_of(kind: Kind, entity_id: int) -> Request:
    """The read of one entity."""
    paths = {
        "user": f"/api/users/{entity_id}",
        "bookings": f"/api/users/{entity_id}/bookings",
        "service": f"/api/services/{entity_id}",
    }
    return Request(kind, "GET", paths[kind], entity_id)
