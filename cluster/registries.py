"""How a build reaches the package registries the way this machine does.

Everything is handed in as read-only mounts for the length of the build: proxies, mirrors, and
certificates of a machine never become part of an image.
"""

import ast
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import run
from cluster.errors import ClusterError

_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_APT_SETTINGS = re.compile(r"Acquire::(https?|Retries|Check-Date|Check-Valid-Until)\b")
# apt tells the two formats apart by the name of the file.
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_OS_RELEASE = Path("/etc/os-release")
_PIP_LINE = re.compile(r"[^.]+\.(?P<key>[a-z-]+)=(?P<value>.+)")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the host, and where the build sees it."""

    source: Path
    target: str

    @property
    def argument(self) -> str:
        """As buildah's --volume takes it."""
        return f"{self.source}:{self.target}:ro"


def pip_settings(listing: str) -> dict[str, str]:
    """What `pip config list` printed, merged: later lines (environment) win over files.

    Raises ClusterError for a line that is not key='value'.
    """
    settings: dict[str, str] = {}
    for line in listing.splitlines():
        match = _PIP_LINE.fullmatch(line.strip())
        if match is None:
            raise ClusterError(f"`pip config list` printed a line that makes no sense: {line!r}")
        settings[match["key"]] = str(ast.literal_eval(match["value"]))
    return settings


def pip_file(settings: dict[str, str]) -> str:
    """The same settings as a configuration file."""
    lines = (
        f"{key} = {value.replace(chr(10), chr(10) + '    ')}" for key, value in settings.items()
    )
    return "\n".join(("[global]", *lines, ""))


def uv_file(settings: dict[str, str]) -> str:
    """What uv needs to know of the same registries: the machine's authorities and index."""
    lines = ["system-certs = true"]
    if "index-url" in settings:
        lines += ["[[index]]", f'url = "{settings["index-url"]}"', "default = true"]
    return "\n".join((*lines, ""))


def apt_file(dump: str) -> str:
    """The settings of `apt-config dump` that matter for reaching a mirror."""
    return "".join(f"{line}\n" for line in dump.splitlines() if _APT_SETTINGS.match(line))


def _default_sources(suite: str) -> str:
    return (
        "Types: deb\n"
        "URIs: http://deb.debian.org/debian\n"
        f"Suites: {suite} {suite}-updates\n"
        "Components: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def debian_sources(suite: str) -> Path | None:
    """The host's own list of Debian mirrors, if the host runs this suite; else None."""
    release = _OS_RELEASE.read_text(encoding="utf-8") if _OS_RELEASE.exists() else ""
    if f"VERSION_CODENAME={suite}" not in release.split():
        return None
    return next((path for path in _SOURCES if path.exists()), None)


def _existing(path: str) -> tuple[Mount, ...]:
    source = Path(path)
    return (Mount(source, path),) if source.exists() else ()


def mounts(folder: Path, suite: str) -> tuple[Mount, ...]:
    """Write what has to be generated into `folder`, and return all mounts of a build."""
    listing = run([sys.executable, "-m", "pip", "config", "list"]) if _has_pip() else ""
    settings = pip_settings(listing)
    generated = {
        "/etc/pip.conf": pip_file(settings),
        "/etc/uv/uv.toml": uv_file(settings),
    }
    if shutil.which("apt-config"):
        dump = run(["apt-config", "dump"])
        generated["/etc/apt/apt.conf.d/99-build-mirror"] = apt_file(dump)
    found: list[Mount] = []
    if sources := debian_sources(suite):
        found.append(Mount(sources, str(sources)))
    else:
        generated[str(_SOURCES[0])] = _default_sources(suite)
    for target, content in generated.items():
        source = folder / target.strip("/").replace("/", "-")
        source.write_text(content, encoding="utf-8")
        source.chmod(0o644)
        found.append(Mount(source, target))
    for value in (_AUTHORITIES, "/etc/apt/auth.conf.d", settings.get("find-links", "")):
        if value.startswith("/"):
            found.extend(_existing(value))
    return tuple(found)


def _has_pip() -> bool:
    try:
        run([sys.executable, "-m", "pip", "--version"])
    except ClusterError:
        return False
    return True
