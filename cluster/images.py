"""The one table of images: what is built, from which Dockerfile, out of which files.

Names are constant, so that manifests are the same on every provider. The build context holds
exactly the files listed here, so that an image's key covers all it is made of.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError
from cluster.tools import METRICS_SERVER, GoModule

_REGISTRY = "docker.io/cacherollout"
_LEFT_OUT = frozenset({"__pycache__", ".venv", ".pytest_cache", ".mypy_cache", ".ruff_cache"})


@dataclass(frozen=True, slots=True)
class Image:
    """One image. All paths are relative to the work tree, as they are inside the build context."""

    name: str
    dockerfile: str
    context: tuple[str, ...]
    """Files and folders; a folder stands for all files below it."""
    programs: tuple[GoModule, ...] = ()
    """Built programs, put at the top of the context."""
    is_on_base: bool = True
    """Whether the Dockerfile takes BASE_IMAGE."""
    build_seconds: float = 20.0
    """How long a first build takes on two cores, for the display."""

    @property
    def reference(self) -> str:
        """What manifests say: `image: docker.io/cacherollout/<name>:dev`."""
        return f"{_REGISTRY}/{self.name}:dev"


IMAGES = (
    Image(
        "operator",
        "operator/Dockerfile",
        ("pyproject.toml", "uv.lock", "README.md", "LICENSE", "operator/cacherollout"),
        build_seconds=40,
    ),
    Image(
        "blingauto-api",
        "examples/blingauto-api/Dockerfile",
        (
            "examples/blingauto-api/pyproject.toml",
            "examples/blingauto-api/uv.lock",
            "examples/blingauto-api/blingauto",
            "examples/load/blingauto_load",
        ),
        build_seconds=30,
    ),
    Image("redis", "examples/images/redis/Dockerfile", ("examples/images/redis",)),
    Image("postgres", "examples/images/postgres/Dockerfile", ("examples/images/postgres",)),
    Image(
        "metrics-server",
        "cluster/images/metrics-server/Dockerfile",
        (),
        programs=(METRICS_SERVER,),
        is_on_base=False,
        build_seconds=5,
    ),
)


def selected(names: Sequence[str]) -> tuple[Image, ...]:
    """The images of these names, or all; ClusterError for a name that is not in the table."""
    by_name = {image.name: image for image in IMAGES}
    if unknown := [name for name in names if name not in by_name]:
        raise ClusterError(f"no such image: {', '.join(unknown)}; there are {', '.join(by_name)}")
    return tuple(by_name[name] for name in names) if names else IMAGES


def context_files(root: Path, image: Image) -> Iterator[tuple[str, Path]]:
    """Name in the context and path of every file that goes in; ClusterError if one is missing."""
    for entry in (image.dockerfile, *image.context):
        path = root / entry
        if not path.exists():
            raise ClusterError(f"image {image.name} needs {entry}, which is not there")
        yield from _files(root, path)


def _files(root: Path, path: Path) -> Iterable[tuple[str, Path]]:
    if path.is_file():
        yield str(path.relative_to(root)), path
        return
    for child in sorted(path.iterdir()):
        if child.name not in _LEFT_OUT:
            yield from _files(root, child)
