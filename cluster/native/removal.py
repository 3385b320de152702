"""Removes a native node without a trace, after a crash at any point and even without its record.

Every side effect outside the state folder is found again by the node's name: processes by network
namespace and cgroup, then link, namespace, cgroups. Ownership is checked before anything is touched.
"""

import os
import shutil
import signal
from pathlib import Path

from cluster.commands import wait_until
from cluster.errors import ClusterError
from cluster.native import cgroups, network

_END_SECONDS = 30.0


def _processes(name: str) -> frozenset[int]:
    return frozenset(network.processes(name)) | cgroups.processes(name)


def _end_processes(name: str) -> None:
    """Kill until none is left. The node's first process takes containers and shims with it."""

    def are_gone() -> bool:
        pids = _processes(name)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # ended between the look and the kill
        return not pids

    wait_until(are_gone, what=f"the processes of node {name} end", timeout_seconds=_END_SECONDS)


def mounts_below(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> tuple[str, ...]:
    """Mount points of the host at or below the folder."""
    prefix = f"{folder}/"
    points = (line.split()[1] for line in mounts.read_text(encoding="utf-8").splitlines())
    return tuple(point for point in points if f"{point}/".startswith(prefix))


def leftovers(name: str, state: Path) -> tuple[str, ...]:
    """Everything of this node that still is on the host, in words; nothing when it is clean."""
    pids = sorted(_processes(name))
    return (
        *(f"process {pid}" for pid in pids),
        *network.leftovers(name),
        *cgroups.leftovers(name),
        *(f"mount {point}" for point in mounts_below(state)),
        *((f"folder {state}",) if state.exists() else ()),
    )


def remove(name: str, state: Path) -> None:
    """Remove every trace; ClusterError naming what could not be removed."""
    network.refuse_foreign(name, state)
    _end_processes(name)
    network.remove(name)
    cgroups.remove(name)
    if mounts := mounts_below(state):
        # A node mounts in a namespace of its own; whatever this is, deleting through it is wrong.
        raise ClusterError(
            f"mounted below {state}: {', '.join(mounts)}: unmount, then `down` again"
        )
    if state.exists():
        shutil.rmtree(state)
    if left := leftovers(name, state):
        raise ClusterError(f"node {name} is down, but this is left: {', '.join(left)}")
