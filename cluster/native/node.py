"""Boots a native node and looks at it.

The record is saved after each start, so that whoever comes next knows what was running.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import records
from cluster.archives import write_single_program
from cluster.commands import run, tail, wait_until
from cluster.errors import ClusterError
from cluster.kubectl import Kubectl
from cluster.native import cgroups, components, dns, network, pki
from cluster.native.components import Component
from cluster.native.subnets import Subnets
from cluster.progress import Progress
from cluster.records import Record

# Joins the node's cgroups, then becomes the command; the files end at `--`.
_JOIN = 'while [ "$1" != -- ]; do echo $$ >"$1"; shift; done; shift; exec "$@"'
_LOG_FOLDER = "log"


@dataclass(slots=True)
class Node:
    """A node under construction or at work; `record` follows what has been started."""

    name: str
    state: Path
    kubectl: Kubectl
    progress: Progress
    record: Record

    @property
    def subnets(self) -> Subnets:
        """The node's address ranges."""
        return Subnets(self.record.subnet_index)

    def boot(self, programs: Path) -> None:
        """Bring everything up, in the order in which it depends on one another."""
        with self.progress.step("cgroups, certificates and configuration", 1):
            self._prepare()
        with self.progress.step("etcd, API server and containerd", 3):
            self._start_init(programs)
            self._start(components.etcd())
            self._start(components.containerd())
            self._start(components.api_server(self.subnets))
            self._import_pause(programs)
            self._wait("the API server is ready", self.kubectl.is_ready, 90)
        with self.progress.step("controllers, scheduler, kubelet, proxy and DNS", 4):
            for component in (
                components.controller_manager(),
                components.scheduler(),
                components.kubelet(self.name, self.subnets),
                components.proxy(),
                components.dns(),
            ):
                self._start(component)
            objects = (self.state / "objects.json").read_text(encoding="utf-8")
            self.kubectl("apply", "--server-side", "-f", "-", text=objects)
            self._wait("the node is Ready", self.kubectl.node_is_ready, 90)
            self._wait("DNS answers", self._dns_is_ready, 30)
        self.record = replace(self.record, is_complete=True)
        records.save(self.state, self.record)

    def _prepare(self) -> None:
        cgroups.create(self.name)
        (self.state / _LOG_FOLDER).mkdir()
        pki.write(self.state / "pki", self.name, self.subnets)
        shutil.copy(self.state / "pki" / "admin.kubeconfig", self.kubectl.kubeconfig)
        self.kubectl.kubeconfig.chmod(0o600)
        for name, content in components.configuration(self.name, self.subnets).items():
            file = self.state / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(content, encoding="utf-8")

    def _spawn(self, name: str, command: tuple[str, ...]) -> None:
        """Start a process in the node's cgroup and remember it."""
        joins = [str(file) for file in cgroups.joins(self.name)]
        with (self.state / _LOG_FOLDER / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                ["sh", "-c", _JOIN, "sh", *joins, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )
        self.record = self.record.with_process(name, records.process(child.pid))
        records.save(self.state, self.record)

    def _start_init(self, programs: Path) -> None:
        namespace = network.namespace_path(self.name)
        script = Path(__file__).with_name("init.sh")
        enter = ("nsenter", f"--net={namespace}")
        new = ("unshare", "--mount", "--pid", "--uts", "--fork", "--propagation", "private")
        arguments = ("sh", str(script), str(self.state), str(programs))
        self._spawn("init", (*enter, *new, *arguments))
        number = self.state / "init.pid"
        self._wait("the node's first process runs", number.exists, 20)
        pid = int(number.read_text(encoding="utf-8"))
        self.record = self.record.with_process("pause", records.process(pid))

    def inside(self, *command: str) -> tuple[str, ...]:
        """The command line that runs a program in all of the node's namespaces."""
        target = str(self.record.processes["pause"].pid)
        enter = ("nsenter", "--target", target, "--mount", "--net", "--pid", "--uts")
        return (*enter, "--wdns=/", "--", *command)

    def _start(self, component: Component) -> None:
        self._spawn(component.name, self.inside(*component.command))

    def _wait(self, what: str, is_true: Callable[[], bool], timeout_seconds: float) -> None:
        wait_until(is_true, what=what, timeout_seconds=timeout_seconds, watch=self.refuse_dead)

    def dead(self) -> Iterator[str]:
        """The names of processes that should run and do not."""
        for name, process in self.record.processes.items():
            if not process.is_alive:
                yield name

    def refuse_dead(self) -> None:
        """ClusterError with the end of the log if a process of the node has ended."""
        for name in self.dead():
            log = self.state / _LOG_FOLDER / f"{name}.log"
            text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            raise ClusterError(f"{name} of node {self.name} has ended; {log} says:\n{tail(text)}")

    def unready(self) -> Iterator[str]:
        """What does not answer as it should, in words."""
        if not self.kubectl.is_ready():
            yield "the API server does not answer /readyz"
        elif not self.kubectl.node_is_ready():
            yield "the node is not Ready"
        if not self._dns_is_ready():
            yield "DNS does not answer"

    def _dns_is_ready(self) -> bool:
        return dns.resolves(str(self.subnets.node_address), "kubernetes.default.svc.cluster.local")

    def import_archive(self, archive: Path) -> None:
        """Load an image archive into containerd, where the kubelet finds it."""
        with archive.open("rb") as file:
            run(
                self.inside("ctr", "--namespace", "k8s.io", "images", "import", "-"),
                stdin=file,
                timeout_seconds=300,
            )

    def _containerd_answers(self) -> bool:
        try:
            run(self.inside("ctr", "version"), timeout_seconds=10)
        except ClusterError:
            return False
        return True

    def _import_pause(self, programs: Path) -> None:
        self._wait("containerd answers", self._containerd_answers, 30)
        archive = self.state / "pause.tar"
        write_single_program(components.PAUSE_IMAGE, programs / "pause", archive)
        self.import_archive(archive)
        archive.unlink()
