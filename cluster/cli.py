"""Arguments, dispatch and exit codes; decides nothing itself.

Exit codes: 0 done or healthy, 1 failed or unhealthy, 2 wrong arguments.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import images, kind, loading, locks, providers, tools
from cluster.builders import Builder
from cluster.errors import ClusterError
from cluster.layout import Layout, checked_name, work_tree
from cluster.progress import Progress
from cluster.workspaces import Workspace

_DEFAULT_NAME = "crnode"


def _workspace(arguments: argparse.Namespace) -> Workspace:
    return Workspace(checked_name(arguments.name), work_tree(), Progress())


def _up(arguments: argparse.Namespace) -> int:
    workspace = _workspace(arguments)
    with locks.exclusive(workspace.layout.lock(workspace.name), doing="cluster up"):
        kubeconfig: Path | None = arguments.kubeconfig
        source = kubeconfig.absolute() if kubeconfig else None
        providers.for_up(workspace, arguments.provider, source, arguments.context).up()
    print(f"export KUBECONFIG={workspace.kubeconfig}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    workspace = _workspace(arguments)
    with locks.exclusive(workspace.layout.lock(workspace.name), doing="cluster down"):
        providers.for_down(workspace).down()
    return 0


def _status(arguments: argparse.Namespace) -> int:
    workspace = _workspace(arguments)
    record = workspace.record()
    if record is None:
        print(f"{workspace.name}: not there")
        return 1
    problems = providers.existing(workspace).problems()
    print(f"{workspace.name}: {'; '.join(problems) or 'healthy'}")
    print(f"  provider    {record.provider}")
    print(f"  kubeconfig  {workspace.kubeconfig}")
    print(f"  images      {', '.join(sorted(record.images)) or 'none loaded'}")
    return 1 if problems else 0


def _kubeconfig(arguments: argparse.Namespace) -> int:
    workspace = _workspace(arguments)
    workspace.known()
    print(workspace.kubeconfig)
    return 0


def _builder(layout: Layout) -> Builder:
    return Builder(layout, Progress(), has_engine=kind.engine_runs())


def _build_images(arguments: argparse.Namespace) -> int:
    builder = _builder(work_tree())
    for image in images.selected(arguments.images):
        built = builder.build(image)
        print(f"{image.reference}  {built.archive}")
    return 0


def _load_images(arguments: argparse.Namespace) -> int:
    workspace = _workspace(arguments)
    provider = providers.existing(workspace)
    builder = _builder(workspace.layout)
    for image in images.selected(arguments.images):
        loading.load(workspace, provider, builder.build(image))
    return 0


def _tools(_: argparse.Namespace) -> int:
    tools.everything(work_tree(), Progress(), has_engine=kind.engine_runs())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, handler: Callable[[argparse.Namespace], int], text: str, *, is_named: bool = True
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(handler=handler)
        if is_named:
            added.add_argument("--name", default=_DEFAULT_NAME, help="default: %(default)s")
        return added

    up = command("up", _up, "make the cluster, or say that it is there and healthy")
    up.add_argument("--provider", choices=providers.NAMES, default=providers.AUTO)
    up.add_argument("--kubeconfig", type=Path, help="use the cluster of this file (provider given)")
    up.add_argument("--context", default="", help="of that file; default: its current context")
    command("down", _down, "remove the cluster without a trace; a given one is only forgotten")
    command("status", _status, "say whether the cluster is healthy, and where its kubeconfig is")
    command("kubeconfig", _kubeconfig, "print the path of the cluster's kubeconfig")
    for name, handler, text in (
        ("build-images", _build_images, "build images; all of them, or those named"),
        ("load-images", _load_images, "build images and bring them into the cluster"),
    ):
        added = command(name, handler, text, is_named=name == "load-images")
        added.add_argument("images", nargs="*", metavar="IMAGE")
    command("tools", _tools, "install or build all programs that are missing", is_named=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.handler(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: run the same command again, or `down`", file=sys.stderr)
        return 130
    return code
