"""Durations, percentages and counts as users write them, parsed to plain numbers.

In the resource they stay strings (`5m`, `80%`), so that what a user reads back is what they wrote;
in Python they are seconds and fractions of one.
"""

import operator
import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, Strict, WithJsonSchema

from cacherollout.api.models import Rule, matches, validations

DURATION_PATTERN: Final = r"^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?([0-9]{1,9}ms)?$"
PERCENT_PATTERN: Final = r"^([0-9]{1,2}(\.[0-9]{1,4})?|100)%$"
COUNT_PATTERN: Final = r"^([1-9][0-9]?|100)%$"

_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+)(ms|s|m|h)")
_DURATION: Final = re.compile(DURATION_PATTERN)
_PERCENT: Final = re.compile(PERCENT_PATTERN)
_COUNT: Final = re.compile(COUNT_PATTERN)
_MAX_COUNT: Final = 1000

_DURATION_FIX: Final = "write a duration such as 10ms, 30s, 5m or 1h30m"
_PERCENT_FIX: Final = "write a percentage from 0% to 100%, such as 80% or 0.1%"
_COUNT_FIX: Final = "write a number of pods from 1 to 1000, or a share from 1% to 100%"


def parse_duration(text: Any) -> float:
    """Seconds of a duration such as `90s`, `1m30s` or `10ms`; numbers pass as seconds."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    if not isinstance(text, str) or not text or not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; {_DURATION_FIX}")
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
    if not isinstance(text, str) or not _PERCENT.fullmatch(text):
        raise ValueError(f"{text!r} is not a percentage; {_PERCENT_FIX}")
    return float(text[:-1]) / 100


def format_percent(fraction: float) -> str:
    """A fraction as a percentage, without trailing zeros."""
    return f"{fraction * 100:.4f}".rstrip("0").rstrip(".") + "%"


def resolve_count(value: int | str, whole: int) -> int:
    """A pod count: an absolute number, or a percentage of `whole` rounded up, at least one."""
    if isinstance(value, int):
        return max(1, value)
    return max(1, -(-whole * int(value[:-1]) // 100))


def _check_count(value: int | str) -> int | str:
    if isinstance(value, int):
        if not 1 <= value <= _MAX_COUNT:
            raise ValueError(f"{value} is no count of pods; {_COUNT_FIX}")
    elif not _COUNT.fullmatch(value):
        raise ValueError(f"{value!r} is no count of pods; {_COUNT_FIX}")
    return value


def compared(
    unit: Literal["duration", "percent"],
    left: str,
    relation: Literal["<", "<="],
    right: str,
    message: str,
    *,
    field: str,
) -> Rule:
    """A rule between two fields of one word each, or a field and a constant such as `0s`.

    Malformed text passes: its own field reports it.
    """
    pattern = DURATION_PATTERN if unit == "duration" else PERCENT_PATTERN
    names = [side for side in (left, right) if not side[0].isdigit()]
    formed = " && ".join(f"self.{name}.matches(r'{pattern}')" for name in names)
    compare = operator.lt if relation == "<" else operator.le

    def in_cel(side: str) -> str:
        text = f"self.{side}" if side in names else f"'{side}'"
        return f"duration({text})" if unit == "duration" else f"double({text}.replace('%', ''))"

    def in_python(model: Any, side: str) -> float:
        if side in names:
            return float(getattr(model, side))
        return parse_duration(side) if unit == "duration" else parse_percent(side)

    return Rule(
        f"!({formed}) || {in_cel(left)} {relation} {in_cel(right)}",
        message,
        holds=lambda model: compare(in_python(model, left), in_python(model, right)),
        field=field,
    )


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": DURATION_PATTERN,
            "minLength": 2,
            "maxLength": 32,
            **matches(DURATION_PATTERN, _DURATION_FIX),
        }
    ),
]
"""Seconds; a string like `5m` in the resource."""

Percent = Annotated[
    float,
    BeforeValidator(parse_percent),
    PlainSerializer(format_percent, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": PERCENT_PATTERN,
            "maxLength": 32,
            **matches(PERCENT_PATTERN, _PERCENT_FIX),
        }
    ),
]
"""A fraction of one; a string like `80%` in the resource."""

PodCount = Annotated[
    Annotated[int, Strict()] | str,
    Field(union_mode="left_to_right"),
    AfterValidator(_check_count),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "pattern": COUNT_PATTERN,
            "maxLength": 32,
            "minimum": 1,
            "maximum": _MAX_COUNT,
            **validations(
                Rule(
                    f"type(self) == int || self.matches(r'{COUNT_PATTERN}')",
                    _COUNT_FIX,
                )
            ),
        }
    ),
]
"""A number of pods, or a percentage of the stable ones."""
