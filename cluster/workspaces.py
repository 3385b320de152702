"""What every provider is handed: the name of a cluster, where its state lives, where to speak."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cluster import records, tools
from cluster.errors import ClusterError
from cluster.kubectl import Kubectl
from cluster.layout import Layout
from cluster.progress import Progress
from cluster.records import Record


@dataclass(frozen=True, slots=True)
class Workspace:
    """One cluster by name in one work tree."""

    name: str
    layout: Layout
    progress: Progress

    @property
    def state(self) -> Path:
        """The state folder; it exists from the first side effect to the end of `down`."""
        return self.layout.node(self.name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, written by the provider, at one place for all of them."""
        return self.state / "admin.kubeconfig"

    def kubectl(self, kubeconfig: Path | None = None, context: str = "") -> Kubectl:
        """The program bound to this cluster's kubeconfig, or to the one given."""
        program = tools.kubectl(self.layout, self.progress)
        return Kubectl(program, kubeconfig or self.kubeconfig, context)

    def record(self) -> Record | None:
        """What is remembered of the cluster."""
        return records.load(self.state)

    def known(self) -> Record:
        """The record; ClusterError if there is no such cluster."""
        record = self.record()
        if record is None:
            raise ClusterError(
                f"there is no cluster {self.name!r} here: "
                f"run `python3 -m cluster up --name {self.name}`"
            )
        return record


class Provider(Protocol):
    """A way to have a cluster; the commands are the same for all."""

    def up(self) -> None:
        """Make or adopt the cluster; nothing if it is there and healthy."""

    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, in words; nothing when it is healthy."""

    def load(self, image: str, archive: Path) -> None:
        """Bring an image, as an archive, to where its kubelet looks first."""

    def down(self) -> None:
        """Remove what `up` made."""
