"""Which provider a command is for: the one that made the cluster, the one asked for, or the best."""

from pathlib import Path

from cluster import given, kind
from cluster.errors import ClusterError
from cluster.given import GivenProvider
from cluster.kind import KindProvider
from cluster.native import provider as native
from cluster.native.provider import NativeProvider
from cluster.workspaces import Provider, Workspace

AUTO = "auto"
NAMES = (AUTO, given.PROVIDER, kind.PROVIDER, native.PROVIDER)


def chosen(requested: str, *, has_kubeconfig: bool, made_by: str | None, has_engine: bool) -> str:
    """The provider's name, in the order given, kind, native; ClusterError on a contradiction.

    `made_by` is who provides the cluster of this name now, if it is there.
    """
    if has_kubeconfig and requested not in (AUTO, given.PROVIDER):
        raise ClusterError(
            f"--kubeconfig names a cluster to use, --provider {requested} would make one: "
            "leave one of the two out"
        )
    wanted = given.PROVIDER if has_kubeconfig else requested
    if made_by is not None:
        if wanted not in (AUTO, made_by):
            raise ClusterError(
                f"the cluster of this name is provided by {made_by}, not {wanted}: "
                "run `down` first, or choose another --name"
            )
        return made_by
    if wanted != AUTO:
        return wanted
    return kind.PROVIDER if has_engine else native.PROVIDER


def for_up(workspace: Workspace, requested: str, kubeconfig: Path | None, context: str) -> Provider:
    """The provider that `up` is to use."""
    record = workspace.record()
    made_by = record.provider if record else None
    is_open = requested == AUTO and kubeconfig is None and made_by is None
    name = chosen(
        requested,
        has_kubeconfig=kubeconfig is not None,
        made_by=made_by,
        has_engine=is_open and kind.engine_runs(),
    )
    if name == given.PROVIDER:
        return GivenProvider(workspace, kubeconfig, context)
    return _made(name, workspace)


def existing(workspace: Workspace) -> Provider:
    """The provider of a cluster that is there; ClusterError if there is none."""
    return _made(workspace.known().provider, workspace)


def for_down(workspace: Workspace) -> Provider:
    """The provider that has to clean up: without a record only a native node leaves traces."""
    record = workspace.record()
    return _made(record.provider if record else native.PROVIDER, workspace)


def _made(name: str, workspace: Workspace) -> Provider:
    match name:
        case given.PROVIDER:
            return GivenProvider(workspace)
        case kind.PROVIDER:
            return KindProvider(workspace)
        case native.PROVIDER:
            return NativeProvider(workspace)
        case _:
            raise ClusterError(f"{workspace.state}/node.json names no known provider: {name!r}")
