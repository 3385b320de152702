"""Durations, percentages and counts as users write them, parsed to plain numbers.

In the resource they stay strings (`5m`, `80%`), so that what a user reads back is what they wrote;
in Python they are seconds and fractions of one.
"""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

DURATION_PATTERN: Final = r"^([0-9]+(ms|s|m|h))+$"
PERCENT_PATTERN: Final = r"^([0-9]{1,2}(\.[0-9]{1,4})?|100)%$"
COUNT_PATTERN: Final = r"^([1-9][0-9]?|100)%$"

_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+)(ms|s|m|h)")
_DURATION: Final = re.compile(DURATION_PATTERN)
_PERCENT: Final = re.compile(PERCENT_PATTERN)


def parse_duration(text: Any) -> float:
    """Seconds of a duration such as `90s`, `1m30s` or `10ms`; numbers pass as seconds."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    if not isinstance(text, str) or not _DURATION.match(text):
        raise ValueError(f"{text!r} is not a duration; write it like 10ms, 30s, 5m or 1h30m")
    return sum(int(count) * _UNIT_SECONDS[unit] for count, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """The shortest exact spelling of a number of seconds, to the millisecond."""
    rest = round(seconds * 1000)
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_percent(text: Any) -> float:
    """The fraction (0…1) of a percentage such as `80%`; numbers pass as fractions."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    if not isinstance(text, str) or not _PERCENT.match(text):
        raise ValueError(f"{text!r} is not a percentage; write it like 80% or 0.1%")
    return float(text[:-1]) / 100


def format_percent(fraction: float) -> str:
    """A fraction as a percentage, without trailing zeros."""
    return f"{fraction * 100:.4f}".rstrip("0").rstrip(".") + "%"


def resolve_count(value: int | str, whole: int) -> int:
    """A pod count: an absolute number, or a percentage of `whole` rounded up, at least one."""
    if isinstance(value, int):
        return max(1, value)
    return max(1, -(-whole * int(value[:-1]) // 100))


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "maxLength": 24}),
]
"""Seconds; a string like `5m` in the resource."""

Percent = Annotated[
    float,
    BeforeValidator(parse_percent),
    PlainSerializer(format_percent, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PERCENT_PATTERN, "maxLength": 8}),
]
"""A fraction of one; a string like `80%` in the resource."""

PodCount = Annotated[
    int | str,
    Field(union_mode="left_to_right"),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "pattern": COUNT_PATTERN,
            "maxLength": 4,
            "minimum": 1,
            "maximum": 1000,
        }
    ),
]
"""A number of pods, or a percentage of the stable ones."""
