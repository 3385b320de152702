"""plan: see a release before it is started, beside what else could be done with it."""

import json
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from cacherollout.cli.plan_inputs import Inputs
from cacherollout.cli.plan_views import as_json, view
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
    click.option("--budget", type=float, metavar="X", help="originLoad.budget."),
    click.option("--canary", metavar="PODS", help="canary.replicas, such as 10% or 2."),
    click.option("--most", metavar="PODS", help="canary.maxReplicas."),
    click.option("--soak", metavar="TIME", help="soak."),
    click.option("--deadline", metavar="TIME", help="deadline."),
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
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML with a CacheRollout, a Deployment, a CacheBackend or a document `load:`; repeatable.",
)
@_described
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for machines.",
)
def plan(files: tuple[Path, ...], output: str, **flags: Any) -> None:
    """Show how a release would go, before it is started, and how it would go otherwise.

    The operator's own rules decide over a simulated cluster, cache and load, which flags and files
    describe. Nothing is changed. The exit code is 1 where the release would be given up.
    """
    inputs = Inputs()
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
        settings={path: flags[flag] for flag, path in _PATHS.items()},
    )
    scene = inputs.scene()
    courses = compare(scene)
    if output == "json":
        click.echo(json.dumps(as_json(scene, courses, inputs.notes), ensure_ascii=False))
    else:
        Console().print(view(inputs.name, scene, courses, inputs.notes))
    raise SystemExit(0 if courses[0].promoted_at is not None else 1)
