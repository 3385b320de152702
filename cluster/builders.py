"""Turns the table of images into archives: with Docker where its engine runs, else with buildah.

The same Dockerfiles serve both. Without an engine there is no registry to pull from either, so the
base image is a Debian made on the spot with mmdebstrap.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import digests, hosts, images, locks, registries, tools
from cluster.commands import run
from cluster.images import Image
from cluster.layout import Layout
from cluster.progress import Progress
from cluster.registries import Mount

SUITE = "bookworm"
_BASE_PACKAGES = "ca-certificates,python3,python3-pip,python-is-python3"
_BASE_OPTIONS = (
    "--variant=minbase",
    f"--include={_BASE_PACKAGES}",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    # The official Python images let pip write into the system's Python; so does this one.
    '--customize-hook=rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
    # Where packages come from is mounted into each build, see registries.
    '--customize-hook=rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*',
)
_BASE_DOCKERFILE = """\
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
"""
_BUILD_SECONDS = 900.0
_SCRATCH = ".scratch-"


@dataclass(frozen=True, slots=True)
class Built:
    """An image archive and the key of all it was made from."""

    image: Image
    key: str
    archive: Path


def docker_build_command(image: Image, context: Path) -> tuple[str, ...]:
    """Builds with an engine; the Dockerfile's own base is pulled."""
    dockerfile = str(context / image.dockerfile)
    return ("docker", "build", "--tag", image.reference, "--file", dockerfile, str(context))


def docker_save_command(image: Image, archive: Path) -> tuple[str, ...]:
    """Writes the built image as an archive."""
    return ("docker", "save", "--output", str(archive), image.reference)


def buildah_command(storage: Path, run_folder: Path) -> tuple[str, ...]:
    """The beginning of every buildah command line: a store of our own, not the machine's.

    In a mount namespace of its own, because buildah leaves mounts behind, more when it is ended.
    """
    apart = ("unshare", "--mount", "--propagation", "private", "--")
    places = ("--root", str(storage), "--runroot", str(run_folder))
    return (*apart, "buildah", *places, "--storage-driver", "overlay")


def buildah_build_arguments(
    image: Image, context: Path, *, base: str, mounts: tuple[Mount, ...]
) -> tuple[str, ...]:
    """Builds without an engine, in the host's network, on our own base."""
    volumes = (f"--volume={mount.argument}" for mount in mounts)
    base_argument = (f"--build-arg=BASE_IMAGE={base}",) if image.is_on_base else ()
    return (
        *("build", "--layers", "--isolation", "chroot", "--network", "host"),
        *("--format", "docker", *base_argument, *volumes, "--tag", image.reference),
        *("--file", str(context / image.dockerfile), str(context)),
    )


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds images of one work tree; what is built already is not built again."""

    layout: Layout
    progress: Progress
    has_engine: bool

    def build(self, image: Image) -> Built:
        """The image's archive, built first if any of its inputs is new."""
        lock = self.layout.lock("images")
        with locks.exclusive(lock, doing=f"build image {image.name}", waits=True):
            self._sweep()
            files = self._inputs(image)
            maker = "docker" if self.has_engine else f"buildah {' '.join(_BASE_OPTIONS)}"
            key = digests.text_key(digests.files_key(files), maker)
            archive = self.layout.images / f"{image.name}-{key}.tar"
            if not archive.exists():
                self._make(image, files, archive)
                self._forget_older(image, archive)
        return Built(image, key, archive)

    def _inputs(self, image: Image) -> list[tuple[str, Path]]:
        programs = (
            tools.go_program(module, self.layout, self.progress) for module in image.programs
        )
        built = [(program.name, program) for program in programs]
        return [*images.context_files(self.layout.root, image), *built]

    def _make(self, image: Image, files: list[tuple[str, Path]], archive: Path) -> None:
        if not self.has_engine:
            hosts.refuse_unsuited("building images without Docker")
            tools.ensure_packages(tools.IMAGE_PACKAGES, self.progress)
        base = self._base() if image.is_on_base and not self.has_engine else ""
        with (
            self.progress.step(f"build image {image.name}", image.build_seconds),
            self._staged(files) as context,
            self._scratch() as folder,
        ):
            # Made beside its place: an archive that is there is a whole one.
            new = folder / "image.tar"
            if self.has_engine:
                run(docker_build_command(image, context), timeout_seconds=_BUILD_SECONDS)
                run(docker_save_command(image, new), timeout_seconds=_BUILD_SECONDS)
            else:
                self._build_without_engine(image, context, base, new)
            new.rename(archive)

    def _build_without_engine(self, image: Image, context: Path, base: str, archive: Path) -> None:
        with self._scratch() as folder:
            mounts = registries.mounts(folder, SUITE)
            self._buildah(*buildah_build_arguments(image, context, base=base, mounts=mounts))
        target = f"docker-archive:{archive}:{image.reference}"
        self._buildah("push", "--quiet", image.reference, target)

    def _buildah(self, *arguments: str) -> str:
        with self._scratch() as folder:
            command = buildah_command(self.layout.images / "storage", folder)
            return run([*command, *arguments], timeout_seconds=_BUILD_SECONDS)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """An empty folder for as long as the block lasts."""
        self.layout.images.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.layout.images, prefix=_SCRATCH) as folder:
            yield Path(folder)

    @contextmanager
    def _staged(self, files: list[tuple[str, Path]]) -> Iterator[Path]:
        """A folder with exactly these files, so that nothing else can get into the image."""
        with self._scratch() as folder:
            for name, source in files:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
            yield folder

    def _sweep(self) -> None:
        """Remove what builds that were killed left behind; nobody else holds the lock now."""
        for folder in self.layout.images.glob(f"{_SCRATCH}*"):
            shutil.rmtree(folder)

    def _forget_older(self, image: Image, archive: Path) -> None:
        length = len(digests.text_key())
        for other in self.layout.images.glob(f"{image.name}-{'?' * length}.tar"):
            if other != archive:
                other.unlink()

    def _base(self) -> str:
        """The name of the local base image, made first if its recipe is new."""
        reference = f"localhost/cacherollout/base:{digests.text_key(*_BASE_OPTIONS)}"
        if self._buildah("images", "--quiet", "--filter", f"reference={reference}").strip():
            return reference
        with (
            self.progress.step(f"make a base image of Debian {SUITE}", 30),
            self._scratch() as folder,
        ):
            archive = folder / "base.tar"
            mirror = registries.debian_sources(SUITE)
            sources = [str(mirror)] if mirror else []
            command = ["mmdebstrap", *_BASE_OPTIONS, SUITE, str(archive), *sources]
            run(command, timeout_seconds=_BUILD_SECONDS)
            (folder / "Dockerfile").write_text(_BASE_DOCKERFILE, encoding="utf-8")
            self._buildah("build", "--isolation", "chroot", "--tag", reference, str(folder))
        return reference
