"""The native node behind the interface that all providers share."""

from dataclasses import dataclass
from pathlib import Path

from cluster import hosts, locks, records, tools
from cluster.errors import ClusterError
from cluster.native import network, removal
from cluster.native.node import Node
from cluster.native.subnets import free_subnets
from cluster.records import Record
from cluster.workspaces import Workspace

PROVIDER = "native"


@dataclass(frozen=True, slots=True)
class NativeProvider:
    """One node in namespaces of this machine."""

    workspace: Workspace

    def up(self) -> None:
        """Boot the node; nothing if it is up and healthy; a half-made one is made anew."""
        hosts.refuse_unsuited("a native node")
        name, progress = self.workspace.name, self.workspace.progress
        record = self.workspace.record()
        if record is not None and record.is_complete and record.boot_id == records.boot_id():
            if problems := self.problems():
                raise ClusterError(
                    f"node {name} is up but not healthy: {'; '.join(problems)}. "
                    f"Logs are in {self.workspace.state}/log. To start afresh: "
                    f"`python3 -m cluster down --name {name}`, then `up`"
                )
            progress.note(f"node {name} is up and healthy already")
            return
        tools.ensure_packages(tools.NODE_PACKAGES, progress)
        programs = tools.node_programs(self.workspace.layout, progress)
        self._sweep()
        self._node(self._claim_addresses()).boot(programs)

    def _claim_addresses(self) -> Record:
        """Choose ranges and route them in one go, or a node booting beside us takes the same."""
        name, state = self.workspace.name, self.workspace.state
        lock = self.workspace.layout.lock("addresses")
        with locks.exclusive(lock, doing=f"choose addresses for {name}", waits=True):
            subnets = free_subnets(network.taken_networks())
            record = Record(name, PROVIDER, boot_id=records.boot_id(), subnet_index=subnets.index)
            records.save(state, record)
            network.create(name, subnets, state)
        return record

    def _sweep(self) -> None:
        name, state = self.workspace.name, self.workspace.state
        network.refuse_foreign(name, state)
        if removal.leftovers(name, state):
            with self.workspace.progress.step("sweep away what was left of an earlier node", 2):
                removal.remove(name, state)

    def _node(self, record: Record) -> Node:
        workspace = self.workspace
        return Node(
            workspace.name, workspace.state, workspace.kubectl(), workspace.progress, record
        )

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the node, in words; nothing when it is healthy."""
        record = self.workspace.known()
        if record.boot_id != records.boot_id():
            return ("the machine was rebooted since: run `up` again",)
        if not record.is_complete:
            return ("`up` did not finish: run it again",)
        node = self._node(record)
        if dead := tuple(node.dead()):
            return (f"ended: {', '.join(dead)}",)
        return tuple(node.unready())

    def load(self, image: str, archive: Path) -> None:
        """Import one image archive."""
        self._node(self.workspace.known()).import_archive(archive)

    def down(self) -> None:
        """Remove every trace of the node, however far it came."""
        hosts.refuse_unsuited("a native node")
        name, progress = self.workspace.name, self.workspace.progress
        with progress.step(f"remove node {name}", 2):
            removal.remove(name, self.workspace.state)
        progress.note(
            "nothing of it is left: looked for processes, network namespace, link, cgroups, "
            "mounts and state folder"
        )
