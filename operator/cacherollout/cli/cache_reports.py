"""What cache commands found or did, as tables for people and as documents for machines. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cacherollout.cache import FamilyVerdict, HotIds, Memory, SurveyReport
from cacherollout.cli.views import duration

_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """One command's result.

    Attributes:
        columns: Heads of the table.
        rows: Its cells; numbers are set to the right.
        notes: Sentences below it.
        document: The same for machines.

    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...]
    document: dict[str, Any]
    notes: tuple[str, ...] = field(default=())


def view(outcome: Outcome) -> RenderableType:
    """The result as people read it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, name in enumerate(outcome.columns):
        cells = [row[index] for row in outcome.rows]
        is_number = bool(cells) and all(
            isinstance(cell, int) or cell in ("", "–") for cell in cells
        )
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in outcome.rows:
        table.add_row(*[Text(f"{cell:,}" if isinstance(cell, int) else cell) for cell in row])
    return Group(table, *[Text(note) for note in outcome.notes])


def size(count: int) -> str:
    """Bytes as people say them, such as ``4.2 MiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < _KIB:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} TiB"


def memory_note(memory: Memory, ceiling_percent: float) -> str:
    """How full the server is, and what a copy may still take."""
    if memory.limit_bytes is None:
        return (
            f"memory: {size(memory.used_bytes)} used; no maxmemory is set, so whether a copy fits "
            "cannot be checked"
        )
    headroom = memory.headroom_bytes(ceiling_percent) or 0
    return (
        f"memory: {size(memory.used_bytes)} of {size(memory.limit_bytes)} used "
        f"({memory.used_percent:.0f} %), policy {memory.policy}; a copy may take "
        f"{size(max(0, headroom))} more"
    )


def memory_document(memory: Memory, ceiling_percent: float) -> dict[str, Any]:
    """The same for machines; null where there is no limit."""
    return {
        "usedBytes": memory.used_bytes,
        "limitBytes": memory.limit_bytes,
        "policy": memory.policy,
        "headroomBytes": memory.headroom_bytes(ceiling_percent),
    }


def readable(identifier: bytes) -> str:
    r"""An id on one line: what cannot be printed as ``\xNN``, a backslash doubled; reversible."""
    text = identifier.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(
        char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode())
        for char in text
    )


def hot_rows(families: Sequence[HotIds]) -> tuple[tuple[str | int, ...], ...]:
    """One row an id, hottest first."""
    return tuple(
        (hot.family, rank, heat, readable(identifier))
        for hot in families
        for rank, (identifier, heat) in enumerate(zip(hot.ids, hot.heats, strict=True), 1)
    )


def surveyed(report: SurveyReport, ceiling_percent: float) -> Outcome:
    """What a survey found."""
    found, memory = report.namespaces, report.memory
    return Outcome(
        columns=("family", "version", "keys", "size", "without TTL", "longest TTL"),
        rows=tuple(
            (
                one.family,
                one.version,
                one.keys,
                size(one.bytes),
                one.keys_without_ttl,
                "–" if one.longest_ttl_seconds is None else duration(one.longest_ttl_seconds),
            )
            for one in found
        ),
        notes=(
            *([] if found else ["No version of any family was found: check --family."]),
            memory_note(memory, ceiling_percent),
        ),
        document={
            "namespaces": [
                {
                    "family": one.family,
                    "version": one.version,
                    "keys": one.keys,
                    "bytes": one.bytes,
                    "keysWithoutTtl": one.keys_without_ttl,
                    "longestTtlSeconds": one.longest_ttl_seconds,
                }
                for one in found
            ],
            "memory": memory_document(memory, ceiling_percent),
        },
    )


def verified(version: str, found: Sequence[FamilyVerdict]) -> Outcome:
    """What a sample of values looks like."""
    corrupt = sum(one.corrupt for one in found)
    sampled = sum(one.sampled for one in found)
    notes = [
        f"{one.missing[name]:,} of {one.sampled:,} values of {one.family} lack the field {name!r}."
        for one in found
        for name in one.missing
    ]
    return Outcome(
        columns=("family", "judged", "undecodable", "incomplete", "too large", "without TTL"),
        rows=tuple(
            (
                one.family,
                one.sampled,
                one.undecodable,
                one.incomplete,
                one.oversized,
                one.without_ttl,
            )
            for one in found
        ),
        notes=(*notes, f"{corrupt:,} of {sampled:,} values are corrupt."),
        document={
            "version": version,
            "families": [
                {
                    "family": one.family,
                    "sampled": one.sampled,
                    "corrupt": one.corrupt,
                    "undecodable": one.undecodable,
                    "incomplete": one.incomplete,
                    "oversized": one.oversized,
                    "withoutTtl": one.without_ttl,
                    "missing": dict(one.missing),
                }
                for one in found
            ],
        },
    )


def retired(
    found: list[tuple[str, str, int, int | None]], *, notes: list[str], is_dry_run: bool
) -> Outcome:
    """What was removed, or would be: family, version, keys, and bytes where they were weighed."""
    return Outcome(
        columns=(
            "family",
            "version",
            "would remove" if is_dry_run else "removed",
            *(("size",) if is_dry_run else ()),
        ),
        rows=tuple(
            (family, version, keys, *(() if total is None else (size(total),)))
            for family, version, keys, total in found
        ),
        notes=tuple(notes),
        document={
            "dryRun": is_dry_run,
            "families": [
                {
                    "family": family,
                    "version": version,
                    "keys": keys,
                    **({} if total is None else {"bytes": total}),
                }
                for family, version, keys, total in found
            ],
        },
    )
