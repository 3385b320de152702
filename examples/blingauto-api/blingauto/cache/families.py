"""A family is a kind of cached value: one key pattern, one shape, one policy."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from blingauto.cache.codec import Codec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Family(Generic[T]):
    """`pattern` holds `{version}` and `{id}`, for example `user:{version}:{id}`.

    `has_l1` lets a process keep decoded values for a few seconds without asking Redis. Nothing tells
    other processes to drop them, so it is for data whose staleness harms nobody.
    """

    name: str
    pattern: str
    codec: Codec[T]
    has_l1: bool = False

    def key(self, version: str, entity_id: int) -> str:
        """The Redis key of one value under one cache version."""
        return self.pattern.format(version=version, id=entity_id)
