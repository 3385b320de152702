"""The node's cgroup tree, on version 1 (one tree a controller) and version 2 (one tree).

A root of its own, because two kubelets under one root end each other's pods. The node's own
processes live in its child `system`, so that they outlive the session that started them.
"""

from collections.abc import Iterable
from pathlib import Path

from cluster.commands import wait_until

_MOUNT = Path("/sys/fs/cgroup")
_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")


def root_name(name: str) -> str:
    """The node's folder in every hierarchy; the kubelet's `cgroupRoot`."""
    return f"cacherollout-{name}"


def hierarchies(mount: Path = _MOUNT) -> tuple[Path, ...]:
    """The tops of all cgroup trees of this machine."""
    if (mount / "cgroup.controllers").exists():
        return (mount,)
    return tuple(
        folder
        for folder in sorted(mount.iterdir())
        if not folder.is_symlink() and (folder / "cgroup.procs").exists()
    )


def create(name: str) -> None:
    """Make the node's folders; they may be there already."""
    for hierarchy in hierarchies():
        for folder in (hierarchy / root_name(name), hierarchy / root_name(name) / "system"):
            folder.mkdir(exist_ok=True)
            if hierarchy == _MOUNT:
                continue
            # Version 1 starts a cpuset empty, and an empty one takes no process.
            for file in _CPUSET_FILES:
                if (folder / file).exists():
                    (folder / file).write_text((folder.parent / file).read_text())


def joins(name: str) -> tuple[Path, ...]:
    """The files a process writes its number into to join the node's `system` group."""
    return tuple(
        hierarchy / root_name(name) / "system" / "cgroup.procs" for hierarchy in hierarchies()
    )


def _folders(name: str) -> list[Path]:
    """All folders of the node, the deepest first."""
    roots = [hierarchy / root_name(name) for hierarchy in hierarchies()]
    found = [
        folder
        for root in roots
        if root.exists()
        for folder in (root, *root.rglob("*"))
        if folder.is_dir()
    ]
    return sorted(found, key=lambda folder: len(folder.parts), reverse=True)


def processes(name: str) -> frozenset[int]:
    """The host's numbers of all processes in any of the node's groups."""
    return frozenset(
        int(line)
        for folder in _folders(name)
        for line in (folder / "cgroup.procs").read_text().split()
    )


def remove(name: str, *, timeout_seconds: float = 20.0) -> None:
    """Remove the tree once its last process is gone; ClusterError if one stays."""
    wait_until(
        lambda: not processes(name),
        what=f"the processes of {root_name(name)} end",
        timeout_seconds=timeout_seconds,
    )
    for folder in _folders(name):
        folder.rmdir()


def leftovers(name: str) -> Iterable[str]:
    """What is still there, in words; nothing when clean."""
    for folder in _folders(name):
        yield f"cgroup {folder}"
