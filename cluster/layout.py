"""Where everything lives inside the work tree: binaries, images, nodes and locks under .cluster/.

Must not know what is stored there or who made it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError

SOURCE = Path(__file__).resolve().parent
"""The package's own folder: Go sources, manifests, Dockerfiles."""

# The longest host link is "<name>-h", and Linux allows 15 characters for a link.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one work tree; `root` is its top folder."""

    root: Path

    @property
    def state(self) -> Path:
        """Everything this package writes; git-ignored, safe to delete once all nodes are down."""
        return self.root / ".cluster"

    @property
    def binaries(self) -> Path:
        """Built programs, one folder a content key, with links to the current ones beside them."""
        return self.state / "bin"

    @property
    def images(self) -> Path:
        """Image archives, one file a content key."""
        return self.state / "images"

    @property
    def nodes(self) -> Path:
        """The folder of all nodes."""
        return self.state / "nodes"

    def node(self, name: str) -> Path:
        """The state folder of one node."""
        return self.nodes / name

    def lock(self, name: str) -> Path:
        """The lock file that one piece of work holds."""
        return self.state / "locks" / f"{name}.lock"


def work_tree() -> Layout:
    """The layout of the work tree this package was run from."""
    return Layout(SOURCE.parent)


def checked_name(name: str) -> str:
    """The name itself, if links, namespaces and cgroups can carry it; else ClusterError."""
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f"--name {name!r}: use 2 to 13 of a-z, 0-9 and '-', starting with a letter "
            "and not ending in '-'"
        )
    return name
