"""A cluster made by kind, where a container engine runs. Command lines, and little else."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster import records, tools
from cluster.commands import run, succeeds
from cluster.errors import ClusterError
from cluster.layout import SOURCE
from cluster.records import Record
from cluster.workspaces import Workspace

PROVIDER = "kind"
_CREATE_SECONDS = 300


def engine_runs() -> bool:
    """Whether a Docker engine answers here; a client without an engine does not count."""
    return succeeds(["docker", "info", "--format", "{{.ServerVersion}}"])


def create_command(program: str, name: str, kubeconfig: Path) -> tuple[str, ...]:
    """Creates the cluster and writes its kubeconfig; never into the user's own."""
    config = str(SOURCE / "kind.yaml")
    return (
        *(program, "create", "cluster", "--name", name, "--config", config),
        *("--kubeconfig", str(kubeconfig), "--wait", "120s"),
    )


def delete_command(program: str, name: str, kubeconfig: Path) -> tuple[str, ...]:
    """Deletes the cluster; not an error if it is gone already."""
    return (program, "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig))


def load_command(program: str, name: str, archive: Path) -> tuple[str, ...]:
    """Loads an image archive, as `docker save` writes it, into the node."""
    return (program, "load", "image-archive", str(archive), "--name", name)


@dataclass(frozen=True, slots=True)
class KindProvider:
    """A cluster named as ours, in the Docker engine of this machine."""

    workspace: Workspace

    def _program(self) -> str:
        found = shutil.which("kind")
        if found:
            return found
        return str(tools.go_program(tools.KIND, self.workspace.layout, self.workspace.progress))

    def _exists(self, program: str) -> bool:
        return self.workspace.name in run([program, "get", "clusters"]).split()

    def up(self) -> None:
        """Create the cluster; nothing if it is there and healthy."""
        workspace = self.workspace
        if not engine_runs():
            raise ClusterError("--provider kind: no Docker engine answers `docker info` here")
        program = self._program()
        record = workspace.record()
        if record is not None and record.is_complete:
            if problems := self.problems():
                raise ClusterError(
                    f"kind cluster {workspace.name} is there but not healthy: "
                    f"{'; '.join(problems)}. To start afresh: "
                    f"`python3 -m cluster down --name {workspace.name}`, then `up`"
                )
            workspace.progress.note(f"kind cluster {workspace.name} is up and healthy already")
            return
        if record is None and self._exists(program):
            raise ClusterError(
                f"a kind cluster {workspace.name!r} exists that this work tree did not make: "
                "choose another --name"
            )
        records.save(workspace.state, Record(workspace.name, PROVIDER))
        with workspace.progress.step(f"create kind cluster {workspace.name}", 60):
            run(delete_command(program, workspace.name, workspace.kubeconfig))
            command = create_command(program, workspace.name, workspace.kubeconfig)
            run(command, timeout_seconds=_CREATE_SECONDS)
        identity = workspace.kubectl().cluster_id()
        complete = Record(workspace.name, PROVIDER, is_complete=True, cluster_id=identity)
        records.save(workspace.state, complete)

    def problems(self) -> tuple[str, ...]:
        """What the API server and the node say of themselves."""
        if not self.workspace.known().is_complete:
            return ("`up` did not finish: run it again",)
        kubectl = self.workspace.kubectl()
        if not kubectl.is_ready():
            return ("the API server does not answer /readyz",)
        return () if kubectl.node_is_ready() else ("the node is not Ready",)

    def load(self, image: str, archive: Path) -> None:
        """Load one image archive into the node."""
        run(load_command(self._program(), self.workspace.name, archive), timeout_seconds=300)

    def down(self) -> None:
        """Delete the cluster that `up` made; another of the same name is left alone."""
        workspace = self.workspace
        if workspace.record() is None:
            workspace.progress.note(f"there is no kind cluster {workspace.name!r} of ours")
            return
        with workspace.progress.step(f"delete kind cluster {workspace.name}", 5):
            command = delete_command(self._program(), workspace.name, workspace.kubeconfig)
            run(command, timeout_seconds=120)
            if self._exists(self._program()):
                raise ClusterError(f"`kind delete cluster --name {workspace.name}` left it there")
            shutil.rmtree(workspace.state)
