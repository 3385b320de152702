"""What is remembered of a node between two commands: one small JSON file, replaced as a whole."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cluster.errors import ClusterError

_FILE = "node.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Process:
    """A process of ours; `start_ticks` tells it from a later one with the same number."""

    pid: int
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        try:
            state, ticks = _stat(self.pid)
        except FileNotFoundError:
            return False
        return ticks == self.start_ticks and state != "Z"


@dataclass(frozen=True, slots=True)
class Record:
    """One node: who provides it and what it takes to find it again."""

    name: str
    provider: str
    is_complete: bool = False
    """False from the first side effect to the end of `up`: a node left so is swept away."""
    boot_id: str = ""
    kubeconfig: str = ""
    context: str = ""
    cluster_id: str = ""
    """The UID of the namespace kube-system: tells one cluster from another."""
    subnet_index: int = 0
    processes: dict[str, Process] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    """The key of each image that was loaded, by its name in manifests."""

    def with_image(self, reference: str, key: str) -> "Record":
        """A copy that remembers one more image."""
        return replace(self, images={**self.images, reference: key})

    def with_process(self, name: str, process: Process) -> "Record":
        """A copy that remembers one more process."""
        return replace(self, processes={**self.processes, name: process})


def _stat(pid: int) -> tuple[str, int]:
    """State letter and start time in clock ticks since boot; FileNotFoundError if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except ProcessLookupError as error:
        raise FileNotFoundError(str(pid)) from error
    # The program's name stands in brackets and may itself hold spaces and brackets.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def process(pid: int) -> Process:
    """The process that has this number now; FileNotFoundError if none has."""
    return Process(pid, _stat(pid)[1])


def boot_id() -> str:
    """What the kernel calls this boot: processes and namespaces of another boot are gone."""
    return _BOOT_ID.read_text(encoding="utf-8").strip()


def load(folder: Path) -> Record | None:
    """The record in a node's state folder; None if there is none; ClusterError if unreadable."""
    file = folder / _FILE
    if not file.exists():
        return None
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        processes = {name: Process(**value) for name, value in fields.pop("processes").items()}
        return Record(**fields, processes=processes)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ClusterError(
            f"{file} cannot be read ({error}): delete that file and run `down` again"
        ) from error


def save(folder: Path, record: Record) -> None:
    """Write the record, replacing an earlier one in a single step."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{_FILE}.new"
    new.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    new.replace(folder / _FILE)
