"""Decides what an answer was worth to its user: fine, broken, or stale.

The judge knows which writes were answered, and when: a read that was sent later has to show their
revision or a higher one. A write whose answer was never seen demands nothing.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from blingauto_load.traffic import Request

Verdict = Literal["fine", "broken", "stale", "just_written"]
_MOST_WRITES_KEPT = 16
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "user": {
        "id": int,
        "email": str,
        "role": str,
        "city": str,
        "revision": int,
        "updated_at": str,
        "bookings_count": int,
        "lifetime_value": str,
        "city_rank": int,
    },
    "service": {
        "id": int,
        "name": str,
        "category": str,
        "price": str,
        "duration_minutes": int,
        "bookings_count": int,
        "median_paid": (str, type(None)),
        "updated_at": str,
    },
    "bookings": {
        "user_id": int,
        "revision": int,
        "items": list,
        "recommended_service_ids": list,
    },
    "change": {"user_id": int, "revision": int},
    "book": {"user_id": int, "revision": int, "booking_id": str},
}
_BOOKING_FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "service_id": int,
    "service_name": str,
    "starts_at": str,
    "price": str,
    "status": str,
}


@dataclass(frozen=True, slots=True)
class _Write:
    answered_at: float
    revision: int


class Judge:
    """Judges answers in the order in which they arrive."""

    def __init__(self, stale_after_seconds: float) -> None:
        self._stale_after_seconds = stale_after_seconds
        self._writes: dict[int, deque[_Write]] = {}

    def judge(self, request: Request, body: object, sent_at: float, answered_at: float) -> Verdict:
        """Judge one answer with a status of success; times on one monotonic clock, in seconds."""
        if not isinstance(body, dict) or not is_complete(request, body):
            return "broken"
        if request.kind in ("change", "book"):
            writes = self._writes.setdefault(request.entity_id, deque(maxlen=_MOST_WRITES_KEPT))
            writes.append(_Write(answered_at, body["revision"]))
            return "fine"
        if request.kind == "service":
            return "fine"
        return self._compare(request.entity_id, body["revision"], sent_at)

    def _compare(self, user_id: int, revision: int, sent_at: float) -> Verdict:
        missed_since = [
            write.answered_at
            for write in self._writes.get(user_id, ())
            if write.answered_at <= sent_at and write.revision > revision
        ]
        if not missed_since:
            return "fine"
        is_stale = sent_at - min(missed_since) > self._stale_after_seconds
        return "stale" if is_stale else "just_written"


def is_complete(request: Request, body: dict[str, Any]) -> bool:
    """Whether every field is there, of the right type, and of the entity that was asked for."""
    identity = "id" if request.kind in ("user", "service") else "user_id"
    if not _has_fields(body, _FIELDS[request.kind]) or body[identity] != request.entity_id:
        return False
    if request.kind == "user":
        # Release v3 renamed `name`; whichever there is must be text.
        return isinstance(body.get("name", body.get("full_name")), str)
    return all(_has_fields(item, _BOOKING_FIELDS) for item in body.get("items", ()))


def _has_fields(body: object, wanted: dict[str, type | tuple[type, ...]]) -> bool:
    return isinstance(body, dict) and all(
        name in body and isinstance(body[name], kind) for name, kind in wanted.items()
    )
