"""A cluster that the user names. It is used, never made, changed in size, or removed."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster import records
from cluster.errors import ClusterError
from cluster.records import Record
from cluster.workspaces import Workspace

PROVIDER = "given"


@dataclass(frozen=True, slots=True)
class GivenProvider:
    """The cluster of one kubeconfig; `source` and `context` matter to `up` alone."""

    workspace: Workspace
    source: Path | None = None
    context: str = ""

    def up(self) -> None:
        """Remember which cluster is meant; it must answer. Named once, it need not be again."""
        workspace = self.workspace
        earlier = workspace.record()
        if self.source is None and earlier is not None:
            if problems := self.problems():
                raise ClusterError(f"cluster {workspace.name}: {'; '.join(problems)}")
            workspace.progress.note(f"{workspace.name!r} is a given cluster and answers")
            return
        if self.source is None:
            raise ClusterError("--provider given: say which cluster with --kubeconfig PATH")
        if not self.source.is_file():
            raise ClusterError(f"--kubeconfig {self.source}: there is no such file")
        chosen = workspace.kubectl(self.source, self.context)
        with workspace.progress.step(f"find the cluster of {self.source}", 2):
            # Flattened and cut down to one context: no later change of the user's file, nor of
            # its current context, can lead us to another cluster.
            flat = chosen("config", "view", "--minify", "--flatten", "--raw")
            identity = chosen.cluster_id()
        if earlier is not None and earlier.cluster_id != identity:
            raise ClusterError(
                f"{workspace.name!r} stands for another cluster already: choose another --name, "
                f"or forget that one with `python3 -m cluster down --name {workspace.name}`"
            )
        record = Record(
            workspace.name, PROVIDER, is_complete=True, cluster_id=identity, context=self.context
        )
        records.save(workspace.state, record)
        workspace.kubeconfig.touch(mode=0o600)
        workspace.kubeconfig.write_text(flat, encoding="utf-8")
        workspace.progress.note(f"using the cluster of {self.source}; `down` will only forget it")

    def problems(self) -> tuple[str, ...]:
        """Whether it answers, and is the cluster that was named."""
        record, kubectl = self.workspace.known(), self.workspace.kubectl()
        if not kubectl.is_ready():
            return ("the API server does not answer /readyz",)
        if kubectl.cluster_id() != record.cluster_id:
            return ("the server is another cluster than the one named at `up`",)
        return () if kubectl.node_is_ready() else ("not every node is Ready",)

    def load(self, image: str, archive: Path) -> None:
        """Always ClusterError: the nodes of a given cluster are not ours to write to."""
        raise ClusterError(
            f"{image} cannot be loaded into a given cluster: push it to a registry that the "
            "cluster pulls from, and set the image in the chart's values"
        )

    def down(self) -> None:
        """Forget the cluster; nothing in it is touched."""
        if self.workspace.state.exists():
            shutil.rmtree(self.workspace.state)
        self.workspace.progress.note(
            f"forgot {self.workspace.name!r}; the cluster itself was not touched"
        )
