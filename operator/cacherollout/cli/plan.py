"""plan: see a release before it is started, beside what else could be done with it."""

import json
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from cacherollout.cli.outputs import output_option
from cacherollout.cli.plan_inputs import Inputs
from cacherollout.cli.plan_plots import html, svg
from cacherollout.cli.plan_views import as_json, view
from cacherollout.cli.rollouts import Where, connected, located, run
from cacherollout.core.plan.comparisons import compare

_LOAD: Final = (
    click.option(
        "--lookups", type=float, metavar="N", help="Cache lookups per second, of all pods."
    ),
    click.option("--hit-rate", metavar="PERCENT", help="Share of them that the cache answers."),
    click.option(
        "--keys", type=int, metavar="N", help="Keys ever asked for, instead of --hit-rate."
    ),
    click.option("--skew", type=float, metavar="S", help="Zipf's exponent.  [default: 1]"),
    click.option("--ttl", metavar="TIME", help="Time to live of the keys.  [default: 5m]"),
    click.option("--writes", type=float, metavar="N", help="Writes per second that remove keys."),
    click.option("--key-bytes", type=float, metavar="N", help="Memory of a key.  [default: 400]"),
    click.option("--replicas", type=int, metavar="N", help="Pods of the target.  [default: 10]"),
    click.option("--pod-start", metavar="TIME", help="Time until a pod is ready.  [default: 10s]"),
)
_FIELDS: Final = {
    "lookups": "lookupsPerSecond",
    "hit_rate": "hitRate",
    "keys": "keys",
    "skew": "skew",
    "writes": "writesPerSecond",
    "key_bytes": "keyBytes",
    "replicas": "replicas",
    "pod_start": "podStart",
}
"""Fields of `load` by their flags."""
_SETTINGS: Final = (
    click.option(
        "--warm",
        type=click.Choice(["Copy", "Replay", "None"]),
        help="How the new namespace is filled.",
    ),
    click.option(
        "--budget",
        type=float,
        metavar="X",
        help="Allowed load on the origin ÷ normal load (originLoad.budget).",
    ),
    click.option(
        "--canary", metavar="PODS", help="Canary pods at first, such as 10% or 2 (canary.replicas)."
    ),
    click.option("--most", metavar="PODS", help="Canary pods at most (canary.maxReplicas)."),
    click.option(
        "--soak", metavar="TIME", help="Least time under traffic before promotion (soak)."
    ),
    click.option("--deadline", metavar="TIME", help="Longest time of a phase (deadline)."),
)
_PATHS: Final = {
    "budget": "originLoad.budget",
    "canary": "canary.replicas",
    "most": "canary.maxReplicas",
    "soak": "soak",
    "deadline": "deadline",
}
"""Fields of the spec by their flags."""


def _described(command: Any) -> Any:
    """Add the flags that describe a load and settings."""
    for option in reversed((*_LOAD, *_SETTINGS)):
        command = option(command)
    return command


@click.command()
@click.argument("name", required=False)
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML with a CacheRollout, a Deployment, a CacheBackend or a document `load:`; repeatable.",
)
@_described
@output_option
@click.option(
    "--svg",
    "svg_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also draw it into this file.",
)
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also write a page with the drawing, the figures and the timeline.",
)
@located
def plan(
    name: str | None,
    files: tuple[Path, ...],
    output: str,
    svg_path: Path | None,
    html_path: Path | None,
    kubeconfig: str | None,
    context: str | None,
    namespace: str,
    **flags: Any,
) -> None:
    """Show how a release would go, before it is started, and how it would go otherwise.

    The operator's own rules decide over a simulated cluster, cache and load. NAME takes settings and
    measurements from a CacheRollout of the cluster; without it no cluster is asked. Files go over
    what was measured, flags over files. Nothing is changed.

    The exit code says how the release would end: 0 promoted, 1 given up, 2 nothing to plan with.
    """
    inputs = Inputs()
    if name is not None:
        inputs = run(_sight(Where(kubeconfig, context, namespace), name), failure_code=2)
    for path in files:
        inputs.read(path)
    inputs.load |= {
        field: flags[flag] for flag, field in _FIELDS.items() if flags[flag] is not None
    }
    if flags["hit_rate"] is not None or flags["keys"] is not None:
        # Either of them decides; a flag replaces whichever a file has.
        other = "keys" if flags["keys"] is None else "hitRate"
        inputs.load.pop(other, None)
    inputs.settle(
        ttl=flags["ttl"],
        warm=flags["warm"],
        settings={path: _as_written(flags[flag]) for flag, path in _PATHS.items()},
    )
    scene = inputs.scene()
    courses = compare(scene)
    for target, draw in ((svg_path, svg), (html_path, html)):
        if target is not None:
            _write(target, draw(inputs.name, courses))
    if output == "json":
        click.echo(json.dumps(as_json(scene, courses, inputs.notes), ensure_ascii=False))
    else:
        Console().print(view(inputs.name, scene, courses, inputs.notes))
    raise SystemExit(0 if courses[0].promoted_at is not None else 1)


def _as_written(value: Any) -> Any:
    """A flag as the resource has it, where a number of pods is no text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written: {error.strerror}.") from error


async def _sight(where: Where, name: str) -> Inputs:
    # Imported here, so that a plan without a cluster does not load the adapters.
    from cacherollout.cli.plan_sightings import sight  # noqa: PLC0415

    async with connected(where) as client:
        return await sight(client, where, name)
