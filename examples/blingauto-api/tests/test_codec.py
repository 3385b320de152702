"""A value read equals the value written, types included; everything else is corrupt."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blingauto.cache.codec import CorruptValueError, JsonCodec
from blingauto.releases import find_release
from blingauto.views import Booking, BookingList, Service, UserV2, UserV3, View

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=2)
TIMES = st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
)
USER_FIELDS = {
    "id": INTEGERS,
    "email": TEXTS,
    "role": st.sampled_from(["customer", "staff", "admin"]),
    "city": TEXTS,
    "revision": INTEGERS,
    "updated_at": TIMES,
    "bookings_count": INTEGERS,
    "lifetime_value": DECIMALS,
    "city_rank": INTEGERS,
}
BOOKINGS = st.builds(
    Booking,
    id=st.uuids(),
    service_id=INTEGERS,
    service_name=TEXTS,
    starts_at=TIMES,
    price=DECIMALS,
    status=st.sampled_from(["booked", "done", "cancelled"]),
)
VIEWS = st.one_of(
    st.builds(UserV2, name=TEXTS, **USER_FIELDS),
    st.builds(
        UserV3, full_name=TEXTS, tier=st.sampled_from(["basic", "silver", "gold"]), **USER_FIELDS
    ),
    st.builds(
        Service,
        id=INTEGERS,
        name=TEXTS,
        category=TEXTS,
        price=DECIMALS,
        duration_minutes=INTEGERS,
        bookings_count=INTEGERS,
        median_paid=st.none() | DECIMALS,
        updated_at=TIMES,
    ),
    st.builds(
        BookingList,
        user_id=INTEGERS,
        revision=INTEGERS,
        items=st.lists(BOOKINGS, max_size=4).map(tuple),
        recommended_service_ids=st.lists(INTEGERS, max_size=4).map(tuple),
    ),
)


def types_of(value: object) -> object:
    """The types of a value and of all that it holds."""
    if isinstance(value, View):
        return (type(value), {name: types_of(part) for name, part in value})
    if isinstance(value, tuple):
        return (tuple, [types_of(part) for part in value])
    # Which class stands for a zone may differ; that there is one may not.
    return (datetime, value.utcoffset()) if isinstance(value, datetime) else type(value)


@given(VIEWS)
def test_what_is_read_equals_what_was_written(value: View) -> None:
    codec = JsonCodec(type(value))
    back = codec.decode(codec.encode(value))
    assert back == value
    assert types_of(back) == types_of(value)
    assert str(getattr(back, "lifetime_value", 0)) == str(getattr(value, "lifetime_value", 0))


USER = UserV2(
    id=1,
    email="a@example.com",
    role="staff",
    city="Gdańsk",
    revision=3,
    updated_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    bookings_count=2,
    lifetime_value=Decimal("10.10"),
    city_rank=1,
    name="Ann",
)


def stored(**changes: object) -> bytes:
    """The stored user with fields changed; `...` removes one."""
    fields = json.loads(JsonCodec(UserV2).encode(USER)) | changes
    return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        pytest.param(b"", "decode", id="empty"),
        pytest.param(b"{", "decode", id="cut off"),
        pytest.param(b"\xff\xfe\x00", "decode", id="not text"),
        pytest.param(b"\x80\x04\x95\x05", "decode", id="a pickle"),
        pytest.param(b"null", "validation", id="null"),
        pytest.param(b"[]", "validation", id="a list"),
        *(
            pytest.param(stored(**{name: ...}), "validation", id=f"without {name}")
            for name in UserV2.model_fields
        ),
        pytest.param(stored(role=None), "validation", id="role is null"),
        pytest.param(stored(role="emperor"), "validation", id="an unknown role"),
        pytest.param(stored(id="1"), "validation", id="id is text"),
        pytest.param(stored(updated_at="2026-01-02T03:04:05"), "validation", id="a naive time"),
        pytest.param(stored(tier="gold"), "validation", id="an unknown field"),
    ],
)
def test_another_value_is_corrupt(data: bytes, kind: str) -> None:
    with pytest.raises(CorruptValueError) as caught:
        JsonCodec(UserV2).decode(data)
    assert caught.value.kind == kind
    assert "Gdańsk" not in str(caught.value)


def test_the_releases_do_not_read_each_others_users() -> None:
    v2, v3 = (JsonCodec(find_release(name).user) for name in ("v2", "v3"))
    fields = USER.model_dump()
    other = UserV3(full_name=fields.pop("name"), tier="basic", **fields)
    with pytest.raises(CorruptValueError, match="full_name"):
        v3.decode(v2.encode(USER))
    with pytest.raises(CorruptValueError, match="name"):
        v2.decode(v3.encode(other))


def test_every_field_of_every_release_is_required() -> None:
    for view in (UserV2, UserV3, Service, Booking, BookingList):
        assert all(field.is_required() for field in view.model_fields.values()), view
    assert isinstance(UUID(int=1), UUID)
