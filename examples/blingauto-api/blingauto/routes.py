"""HTTP: paths, bodies and status codes. Knows the catalog, not what is behind it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Path, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from blingauto.catalog import Catalog
from blingauto.origin import UserChanges
from blingauto.views import BookingList, Service, User, View

EntityId = Annotated[int, Path(ge=1, le=2**53)]


class UserUpdate(BaseModel):
    """The fields of a user that may be changed; one at least."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=200)
    city: str | None = Field(default=None, min_length=1, max_length=100)


class NewBooking(BaseModel):
    """A booking to make."""

    model_config = ConfigDict(extra="forbid")

    user_id: int = Field(ge=1, le=2**53)
    service_id: int = Field(ge=1, le=2**53)
    starts_at: AwareDatetime


class Written(BaseModel):
    """What a write answers: later reads show this revision or a higher one."""

    user_id: int
    revision: int
    booking_id: UUID | None = None


def build_routes(catalog: Catalog) -> APIRouter:
    """The API's routes over `catalog`."""
    router = APIRouter(prefix="/api")

    @router.get("/users/{user_id}", response_model=catalog.user_view)
    async def get_user(user_id: EntityId) -> Response:
        return _answer(await catalog.user(user_id), "user")

    @router.get("/services/{service_id}", response_model=Service)
    async def get_service(service_id: EntityId) -> Response:
        return _answer(await catalog.service(service_id), "service")

    @router.get("/users/{user_id}/bookings", response_model=BookingList)
    async def get_bookings(user_id: EntityId) -> Response:
        return _answer(await catalog.bookings(user_id), "user")

    @router.put("/users/{user_id}")
    async def put_user(user_id: EntityId, update: UserUpdate) -> Written:
        changes = UserChanges(name=update.name, city=update.city)
        if changes == UserChanges():
            raise HTTPException(422, "nothing to change: give name or city")
        revision = await catalog.change_user(user_id, changes)
        if revision is None:
            raise HTTPException(404, "no such user")
        return Written(user_id=user_id, revision=revision)

    @router.post("/bookings", status_code=201)
    async def post_booking(new: NewBooking) -> Written:
        booked = await catalog.book(new.user_id, new.service_id, new.starts_at)
        if booked is None:
            raise HTTPException(404, "no such user or service")
        booking_id, revision = booked
        return Written(user_id=new.user_id, revision=revision, booking_id=booking_id)

    return router


def _answer(value: User | Service | BookingList | None, what: str) -> Response:
    """The value as it is: it was validated on its way here, so it need not be again."""
    view: View | None = value
    if view is None:
        raise HTTPException(404, f"no such {what}")
    return Response(view.model_dump_json(), media_type="application/json")
