"""`cacherollout cache`: the cache engine at a terminal, against any Redis, without Kubernetes.

Thin: each command makes one operation of the engine, runs it, and shows its report.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import click
from rich.console import Console

from cacherollout.cache import (
    Codec,
    Copy,
    CopyCounts,
    Hot,
    Keep,
    Limits,
    Retire,
    Survey,
    TemplateError,
    Verify,
    check_version,
    glance,
)
from cacherollout.cli.cache_options import Target, on_cache, required_of, seconds_of
from cacherollout.cli.cache_refusals import Refusal, Unusable
from cacherollout.cli.cache_reports import (
    Outcome,
    hot_rows,
    memory_note,
    readable,
    retired,
    size,
    surveyed,
    verified,
    view,
)
from cacherollout.cli.cache_walks import Session, Walked
from cacherollout.cli.views import duration

_PIPE_COLUMNS: Final = 200
_READS: Final = frozenset({"PTTL", "MEMORY USAGE"})

_dry_run = click.option("--dry-run", is_flag=True, help="Count and estimate; write nothing.")
_ceiling = click.option(
    "--memory-ceiling",
    type=click.FloatRange(min=0, min_open=True, max=100),
    default=Limits().memory_ceiling_percent,
    show_default=True,
    metavar="PERCENT",
    help="Share of maxmemory that a copy may fill; at most 80 where the server evicts.",
)


@click.group()
def cache() -> None:
    """Look at, copy, check and remove versions of cached data in any Redis.

    Needs no Kubernetes and no operator. Only keys of the given families and versions are touched, at
    a pace that other clients do not feel; every command may be stopped and run again.

    Exit codes: 0 done, 1 refused by the state of the cache (and: verify found corrupt values), 2
    wrong options or no way to the server, 130 stopped. The password is read from
    $CACHEROLLOUT_REDIS_PASSWORD.
    """


def _version(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """Refuse versions that could not stand in a key."""
    for each in value if isinstance(value, tuple) else [value] if value else []:
        try:
            check_version(each)
        except TemplateError as error:
            raise click.UsageError(
                f"{error}. A version is taken literally, never as a pattern."
            ) from error
    return value


def _finish(target: Target, command: str, outcome: Outcome, seconds: float) -> None:
    if target.is_json:
        document = {
            "command": command,
            "server": target.address,
            "seconds": round(seconds, 3),
            **outcome.document,
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    console = Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS, highlight=False)
    console.print(view(outcome))


def _hint(target: Target, version: str) -> str:
    keys = ", ".join(
        (f.template.head(version) + b"\xe2\x80\xa6" + f.template.tail).decode(errors="replace")
        for f in target.families
    )
    return f"No key of {version} was found ({keys}): check --family, the version and the database."


@cache.command(short_help="Count keys, bytes and TTLs, and the room left.")
@click.option(
    "--version", multiple=True, callback=_version, help="Only this one; repeatable. Else all found."
)
@_ceiling
@on_cache
def survey(target: Target, version: tuple[str, ...], memory_ceiling: float) -> None:
    """Count keys, bytes and TTLs of each version, and the room that is left.

    Looks at every key of the database; bytes are estimated from a sample.
    """
    session = Session(target, version=version[0] if version else "any", rights=_READS)

    async def work() -> Walked[Any]:
        await session.facts(is_for_writing=False)
        operation = Survey(target.server, target.families, version or None, target.limits)
        return await session.walk("counting", operation)

    done = session.run(work)
    _finish(target, "survey", surveyed(done.report, memory_ceiling), done.seconds)


@cache.command()
@click.option("--version", required=True, callback=_version, help="The version to look at.")
@click.option("--top", type=click.IntRange(1, 1_000_000), default=20, show_default=True)
@on_cache
def hot(target: Target, version: str, top: int) -> None:
    """List the ids that carry the traffic, hottest first.

    Under an LFU policy heat is the server's access counter, else the time since the last access.
    """
    session = Session(target, version=version, rights={"OBJECT IDLETIME"})

    async def work() -> Walked[Any]:
        await session.facts(is_for_writing=False)
        operation = Hot(
            target.server, target.families, version=version, top=top, limits=target.limits
        )
        return await session.walk("looking", operation)

    done = session.run(work)
    report = done.report
    is_lfu = report.measure == "frequency"
    rows = hot_rows(report.families)
    how = (
        "Heat is the server's LFU counter, logarithmic up to 255: more is hotter."
        if is_lfu
        else "Heat is the time since the last access: the policy is not LFU, so accesses are not "
        "counted. Fewer seconds are hotter."
    )
    outcome = Outcome(
        columns=("family", "rank", "frequency" if is_lfu else "idle s", "id"),
        rows=rows,
        notes=(how if rows else _hint(target, version),),
        document={
            "version": version,
            "measure": report.measure,
            "families": [
                {
                    "family": one.family,
                    "ids": [
                        {"id": readable(identifier), "heat": heat}
                        for identifier, heat in zip(one.ids, one.heats, strict=True)
                    ],
                }
                for one in report.families
            ],
        },
    )
    _finish(target, "hot", outcome, done.seconds)


@cache.command()
@click.option("--from", "source", required=True, callback=_version, help="The version to copy.")
@click.option("--to", "to", required=True, callback=_version, help="The version to fill.")
@_dry_run
@_ceiling
@on_cache
def copy(target: Target, source: str, to: str, dry_run: bool, memory_ceiling: float) -> None:
    """Fill a version from another one, inside the server.

    Never over a key that is there; each copy has its original's remaining TTL. Refuses if the copies
    would not fit below the memory ceiling, and stops if memory runs up to it. Meant for a version
    that does not serve yet: where an application deletes keys of both at the same moment, a deleted
    value may come back until its TTL ends.
    """
    if source == to:
        raise click.UsageError(
            f"--from and --to are both {source!r}: nothing would change. Name the version that the "
            "new release reads in --to."
        )
    limits = replace(target.limits, memory_ceiling_percent=memory_ceiling)
    session = Session(target, version=source, rights={*_READS, "EXISTS", "COPY"})
    operation = Copy(
        target.server,
        target.families,
        source=source,
        target=to,
        is_dry_run=dry_run,
        limits=limits,
    )

    async def work() -> tuple[Walked[Any], str]:
        facts = await session.facts(is_for_writing=not dry_run)
        done = await session.walk("counting" if dry_run else "copying", operation)
        return done, memory_note(facts.memory, memory_ceiling)

    done, memory = session.run(work)
    found = done.report.families
    keys, total = sum(one.copied for one in found), sum(one.bytes for one in found)
    seconds = limits.seconds_for(keys, looked_seconds=done.seconds)
    notes = [
        _closing(
            "copied",
            is_dry_run=dry_run,
            estimated_seconds=seconds,
            seconds=done.seconds,
            more=f" {size(total)} and",
        )
    ]
    if dry_run:
        notes.append(memory)
    if not done.progress.done:
        notes.append(_hint(target, source))
    outcome = _copied(found, source, to, notes, is_dry_run=dry_run)
    if dry_run:
        outcome.document["estimatedSeconds"] = round(seconds, 3)
    _finish(target, "copy", outcome, done.seconds)


def _copied(
    found: Sequence[CopyCounts], source: str, to: str, notes: Sequence[str], *, is_dry_run: bool
) -> Outcome:
    return Outcome(
        columns=(
            "family",
            "would copy" if is_dry_run else "copied",
            "left alone",
            "without TTL",
            "size",
        ),
        rows=tuple(
            (one.family, one.copied, one.kept, one.without_ttl, size(one.bytes)) for one in found
        ),
        notes=tuple(notes),
        document={
            "from": source,
            "to": to,
            "dryRun": is_dry_run,
            "families": [
                {
                    "family": one.family,
                    "copied": one.copied,
                    "leftAlone": one.kept,
                    "withoutTtl": one.without_ttl,
                    "bytes": one.bytes,
                }
                for one in found
            ],
        },
    )


def _closing(
    done: str, *, is_dry_run: bool, estimated_seconds: float, seconds: float, more: str = ""
) -> str:
    """The sentence that says how long it took, or would; `done` as in ``copied``."""
    if is_dry_run:
        about = duration(max(1, estimated_seconds))
        return f"Dry run, nothing was {done}. It would take{more} about {about} at this pace."
    return f"Done in {seconds:.1f} s."


@cache.command()
@click.option("--version", required=True, callback=_version, help="The version to judge.")
@click.option(
    "--required",
    multiple=True,
    metavar="[FAMILY=]A,B",
    help="Fields that every value must have, of all families or of one; repeatable.",
)
@click.option("--sample", type=click.IntRange(1, 100_000), default=1000, show_default=True)
@click.option(
    "--codec", type=click.Choice([*Codec]), default=Codec.JSON, show_default=True, help="Of values."
)
@on_cache
def verify(
    target: Target, version: str, required: tuple[str, ...], sample: int, codec: Codec
) -> None:
    """Judge a sample of the stored values as the next reader would.

    Exits with 1 where a value does not decode or lacks a required field, or where there is no value.
    """
    families = required_of(target.families, required, codec)
    session = Session(target, version=version, rights={"PTTL", "STRLEN", "GET"})

    async def work() -> Walked[Any]:
        await session.facts(is_for_writing=False)
        operation = Verify(
            target.server, families, version=version, sample=sample, limits=target.limits
        )
        return await session.walk("judging", operation)

    done = session.run(work)
    found = done.report.families
    _finish(target, "verify", verified(version, found), done.seconds)
    if not any(one.sampled for one in found):
        raise Refusal(_hint(target, version))
    if any(one.corrupt for one in found):
        raise SystemExit(1)


@cache.command(short_help="Let a version's keys live for longer.")
@click.option("--version", required=True, callback=_version, help="The version to keep.")
@click.option("--for", "time", required=True, metavar="TIME", help="Such as 90s, 15m, 2h or 1d.")
@_dry_run
@on_cache
def keep(target: Target, version: str, time: str, dry_run: bool) -> None:
    """Let every key of a version live at least that long from now, so that going back is cheap.

    Never shortens a TTL, and gives none to a key without. Needs Redis 7.0. Keys written later have
    the TTL that the application gives them: run it again for those.
    """
    ttl_seconds = seconds_of(time)
    session = Session(target, version=version, rights={"PTTL" if dry_run else "PEXPIRE"})
    operation = Keep(
        target.server,
        target.families,
        version=version,
        ttl_seconds=ttl_seconds,
        is_dry_run=dry_run,
        limits=target.limits,
    )

    async def work() -> Walked[Any]:
        await session.facts(is_for_writing=not dry_run)
        return await session.walk("counting" if dry_run else "keeping", operation)

    done = session.run(work)
    found = done.report.families
    keys = sum(one.lengthened for one in found)
    seconds = target.limits.seconds_for(keys, looked_seconds=done.seconds)
    notes = [
        _closing("changed", is_dry_run=dry_run, estimated_seconds=seconds, seconds=done.seconds)
    ]
    if not done.progress.done:
        notes.append(_hint(target, version))
    outcome = Outcome(
        columns=("family", "would live longer" if dry_run else "live longer", "left alone"),
        rows=tuple((one.family, one.lengthened, one.unchanged) for one in found),
        notes=tuple(notes),
        document={
            "version": version,
            "ttlSeconds": ttl_seconds,
            "dryRun": dry_run,
            "families": [
                {"family": one.family, "lengthened": one.lengthened, "leftAlone": one.unchanged}
                for one in found
            ],
            **({"estimatedSeconds": round(seconds, 3)} if dry_run else {}),
        },
    )
    _finish(target, "keep", outcome, done.seconds)


@cache.command()
@click.option(
    "--version", required=True, multiple=True, callback=_version, help="To remove; repeatable."
)
@_dry_run
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_cache
def retire(target: Target, version: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Remove every key of a version, page by page.

    Asks for the version once more, unless --yes. `--version v1` does not take keys of v10.
    """
    versions = tuple(dict.fromkeys(version))
    session = Session(target, version=versions[0], rights={*_READS, "UNLINK"})
    if dry_run:
        _retire_dry(target, session, versions)
        return
    if not yes:
        _confirm(target, session, versions)

    async def work() -> Walked[Any]:
        await session.facts(is_for_writing=True)
        operation = Retire(target.server, target.families, versions=versions, limits=target.limits)
        return await session.walk("removing", operation)

    done = session.run(work)
    _finish(
        target,
        "retire",
        retired(
            [(one.family, one.version, one.keys, None) for one in done.report.removed],
            notes=[f"Done in {done.seconds:.1f} s."],
            is_dry_run=False,
        ),
        done.seconds,
    )


def _retire_dry(target: Target, session: Session, versions: tuple[str, ...]) -> None:
    async def work() -> Walked[Any]:
        await session.facts(is_for_writing=False)
        operation = Survey(target.server, target.families, versions, target.limits)
        return await session.walk("counting", operation)

    done = session.run(work)
    found = done.report.namespaces
    keys = sum(one.keys for one in found)
    seconds = target.limits.seconds_for(keys, looked_seconds=done.seconds)
    outcome = retired(
        [(one.family, one.version, one.keys, one.bytes) for one in found],
        notes=[
            _closing("removed", is_dry_run=True, estimated_seconds=seconds, seconds=done.seconds)
        ],
        is_dry_run=True,
    )
    outcome.document["estimatedSeconds"] = round(seconds, 3)
    _finish(target, "retire", outcome, done.seconds)


def _confirm(target: Target, session: Session, versions: tuple[str, ...]) -> None:
    """Show what would go, and ask for the versions once more; raises unless they are typed."""
    wanted = " ".join(versions)
    if not sys.stdin.isatty():
        raise Unusable(
            f"Removing {wanted} asks for confirmation, and there is no terminal to ask at: nothing was "
            "removed. Look with --dry-run, then add --yes.",
        )

    async def look() -> Any:
        await session.facts(is_for_writing=True)
        return await glance(target.server, target.families, versions, target.limits)

    for one in session.run(look).namespaces:
        click.echo(
            f"{one.version} of {one.family}: about {one.keys:,} keys, {size(one.bytes)}", err=True
        )
    typed = click.prompt(
        f"They will be removed from {target.address}. Type {wanted} to go on",
        default="",
        show_default=False,
        err=True,
    )
    if typed.strip() != wanted:
        raise Refusal(f"{wanted} was not typed: nothing was removed.")
