"""One codec for every cached value: JSON, read back strictly as the type that was written.

Invariant: `decode(encode(value)) == value`, types included (datetimes, decimals, UUIDs, tuples). A
value that another release wrote in another shape is corrupt, never half understood.
"""

from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

CorruptKind = Literal["decode", "validation"]
T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)


class CorruptValueError(ValueError):
    """A stored value is not what this release writes. `kind` says at which step it failed."""

    def __init__(self, kind: CorruptKind, reason: str) -> None:
        super().__init__(reason)
        self.kind: CorruptKind = kind


class Codec(Protocol[T]):
    """Turns values into bytes and back."""

    def encode(self, value: T) -> bytes:
        """The bytes to store."""

    def decode(self, data: bytes) -> T:
        """The value that was stored; raises `CorruptValueError`."""


class JsonCodec(Generic[ModelT]):
    """JSON of one pydantic model, whose required fields are checked on every read."""

    def __init__(self, model: type[ModelT]) -> None:
        self._model = model

    def encode(self, value: ModelT) -> bytes:
        """The bytes to store."""
        return value.model_dump_json().encode()

    def decode(self, data: bytes) -> ModelT:
        """The value that was stored; raises `CorruptValueError` without quoting the value."""
        try:
            return self._model.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            # Values may be personal data, so only the place and the kind of the fault are told.
            place = ".".join(str(part) for part in first["loc"]) or "value"
            kind: CorruptKind = "decode" if first["type"] == "json_invalid" else "validation"
            raise CorruptValueError(kind, f"{place}: {first['type']}") from error
