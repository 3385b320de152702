"""check: is everything ready for a release? Asked before it, against the cluster itself."""

import json
from enum import IntEnum
from typing import Final

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cacherollout.api.names import Key
from cacherollout.cli.outputs import output_option
from cacherollout.cli.rollouts import Where, connected, is_inside, located, missing, run
from cacherollout.core.checklist import CAP, Checklist
from cacherollout.core.readiness import POINTS, Outcome


class Verdict(IntEnum):
    """The exit codes."""

    READY = 0
    NOT_READY = 1
    UNKNOWN = 2


_STYLES: Final = {
    Outcome.OK: "green",
    Outcome.WARNING: "yellow",
    Outcome.FAILED: "bold red",
    Outcome.NOT_CHECKED: "cyan",
}
_CLOSING: Final = {
    Verdict.READY: "ready for a release",
    Verdict.NOT_READY: "not ready for a release",
    Verdict.UNKNOWN: "nothing failed, but not everything could be checked",
}


@click.command()
@click.argument("name")
@output_option
@located
def check(
    name: str, output: str, kubeconfig: str | None, context: str | None, namespace: str
) -> None:
    """Check whether a release may come: the checklist before a deployment.

    Takes about six seconds and changes nothing. The exit code says how it is: 0 ready, 1 not ready
    (something failed), 2 not everything could be checked.
    """
    where = Where(kubeconfig, context, namespace)
    found = run(_inspect(where, name), failure_code=Verdict.UNKNOWN)
    if output == "json":
        click.echo(json.dumps(as_json(where, name, found), indent=2, ensure_ascii=False))
    else:
        Console().print(view(where, name, found))
    raise SystemExit(verdict(found))


async def _inspect(where: Where, name: str) -> Checklist:
    # Imported here, so that the help does not load the adapters.
    from cacherollout.cli.inspections import inspect  # noqa: PLC0415

    async with connected(where) as client:
        found = await inspect(client, Key(where.namespace, name), is_inside=is_inside(where))
    if found is None:
        raise missing(where, name)
    return found


def verdict(found: Checklist) -> Verdict:
    """The exit code that a checklist means."""
    if found.with_outcome(Outcome.FAILED):
        return Verdict.NOT_READY
    if found.with_outcome(Outcome.NOT_CHECKED):
        return Verdict.UNKNOWN
    return Verdict.READY


def view(where: Where, name: str, found: Checklist) -> RenderableType:
    """The checklist as people read it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    table.add_column("check")
    table.add_column("found", ratio=1)
    table.add_column("points", justify="right")
    for item in found.items:
        table.add_row(
            Text(item.outcome, style=_STYLES[item.outcome]),
            item.name,
            Text(item.message),
            f"{item.points:g}/{POINTS[item.name].points}",
        )
    parts: list[RenderableType] = [table, Text(), _summary(found)]
    if not is_inside(where) and found.with_outcome(Outcome.NOT_CHECKED):
        parts.append(_elsewhere(where, name))
    return Group(*parts)


def _summary(found: Checklist) -> Text:
    counts = ", ".join(
        f"{len(items)} {outcome}" for outcome in Outcome if (items := found.with_outcome(outcome))
    )
    result = verdict(found)
    style = {Verdict.READY: "green", Verdict.NOT_READY: "bold red"}.get(result, "yellow")
    capped = (
        f" It is at most {CAP} while {', '.join(item.name for item in found.stoppers)} would stop "
        "or break a rollout."
        if found.stoppers
        else ""
    )
    return Text.assemble(
        (f"{_CLOSING[result].capitalize()}: ", style),
        (f"readiness {found.score} of 100", "bold"),
        f" ({counts}).{capped}",
    )


def _elsewhere(where: Where, name: str) -> Text:
    """How to run it where the operator runs."""
    command = (
        "  kubectl -n cacherollout-system exec deploy/cacherollout -- "
        f"python3 -m cacherollout check {name} -n {where.namespace}"
    )
    return Text.assemble(
        "What could not be checked needs the operator's network and rights. With its namespace and "
        "Deployment:\n",
        (command, "bold"),
    )


def as_json(where: Where, name: str, found: Checklist) -> dict[str, object]:
    """The checklist as machines read it."""
    return {
        "namespace": where.namespace,
        "name": name,
        "verdict": verdict(found).name.title().replace("_", ""),
        "score": found.score,
        "items": [
            {
                "name": item.name,
                "outcome": item.outcome,
                "message": item.message,
                "points": item.points,
                "maxPoints": POINTS[item.name].points,
                "doesStop": POINTS[item.name].does_stop,
                "why": POINTS[item.name].why,
            }
            for item in found.items
        ],
    }
