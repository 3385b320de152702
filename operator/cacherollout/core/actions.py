"""What a decision asks the shell to do, as frozen values.

Every action is idempotent: applied again, it changes nothing. Those that cannot be undone are
marked; the shell persists the ledger before them and decides once more on a fresh read.
Cache works are a desired set, not commands: the shell starts what is missing and ends what is no
longer asked for.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class CopyWork:
    """Copy the families' values from one version to another, and mirror them while it is asked."""

    families: tuple[str, ...]
    source: str
    target: str

    @property
    def key(self) -> str:
        """Identity of the work."""
        return f"copy/{self.source}/{self.target}/{','.join(self.families)}"


@dataclass(frozen=True, slots=True)
class ReplayWork:
    """Ask the canary pods for the hot ids of the families, at a rate the origin can bear."""

    families: tuple[str, ...]
    source: str
    target: str
    coverage: float
    """Share (0…1) of the hot ids to reach."""
    per_second: float
    """Most requests a second; not part of the identity."""

    @property
    def key(self) -> str:
        """Identity of the work."""
        return f"replay/{self.source}/{self.target}/{','.join(self.families)}"


@dataclass(frozen=True, slots=True)
class MirrorWork:
    """Keep two versions coherent: a write through one reaches the other's copy.

    `copied` families are kept equal; of the others, only invalidations are carried over.
    """

    copied: tuple[str, ...]
    invalidated: tuple[str, ...]
    one: str
    other: str

    @property
    def key(self) -> str:
        """Identity of the work."""
        copied, invalidated = ",".join(self.copied), ",".join(self.invalidated)
        return f"mirror/{self.one}/{self.other}/{copied}/{invalidated}"


@dataclass(frozen=True, slots=True)
class VerifyWork:
    """Sample stored values of a version again and again and count the corrupt ones."""

    version: str
    sample: int

    @property
    def key(self) -> str:
        """Identity of the work."""
        return f"verify/{self.version}"


@dataclass(frozen=True, slots=True)
class KeepWork:
    """Keep a version's keys alive: lengthen their TTLs until a moment (seconds since the epoch)."""

    version: str
    until: float

    @property
    def key(self) -> str:
        """Identity of the work."""
        return f"keep/{self.version}"


@dataclass(frozen=True, slots=True)
class RetireWork:
    """Remove every key of these versions. Cannot be undone."""

    versions: tuple[str, ...]

    @property
    def key(self) -> str:
        """Identity of the work."""
        return f"retire/{','.join(self.versions)}"


@dataclass(frozen=True, slots=True)
class PublishWork:
    """Keep these versions readable under a key of the cache, until another work takes its place."""

    at: str
    """The key."""
    versions: tuple[str, ...]

    @property
    def key(self) -> str:
        """Identity of the work."""
        return f"publish/{self.at}/{','.join(self.versions)}"


Work = CopyWork | ReplayWork | MirrorWork | VerifyWork | KeepWork | RetireWork | PublishWork


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Make sure that the CacheRollout cannot vanish before its traces are removed."""

    is_irreversible: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the CacheRollout go."""

    is_irreversible: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ConsumeRequest:
    """Remove the request annotation, provided it still says `raw`."""

    raw: str
    is_irreversible: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class KeepSnapshot:
    """Keep the target's present template, with its fields' owners, under its revision."""

    revision: str
    is_irreversible: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class DropSnapshots:
    """Drop every kept template but these."""

    kept: frozenset[str]
    is_irreversible: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class ApplyTarget:
    """Own the hold of the target, and set its version entry (server-side apply).

    `entry` is the value of the version entry; None leaves it to whoever has it. The entry is left
    without an owner, so that nobody's apply is refused for it. `resource_version` makes the write
    fail where somebody changed the target since it was read.
    """

    is_paused: bool
    entry: str | None
    resource_version: str
    is_promotion: bool = False

    @property
    def is_irreversible(self) -> bool:
        """Letting a new template go cannot be taken back by not having done it."""
        return self.is_promotion


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """Put a kept template back into the target and its fields back to their owners.

    `entry` is the version entry that the operator itself must have in the restored template; None:
    the template carries none of ours, whatever it carried when it was kept.
    """

    revision: str
    entry: str | None
    is_paused: bool
    resource_version: str
    is_irreversible: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class FreeTarget:
    """Give up every field of the target that we own and lift the hold."""

    resource_version: str
    is_irreversible: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ApplyCanary:
    """Create or resize the canary Deployment from the kept template of a revision."""

    revision: str
    version: str
    attempt: int
    replicas: int
    is_irreversible: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class DeleteCanary:
    """Delete the canary Deployment; its pods end with their own grace."""

    uid: str
    is_irreversible: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class SetAdmission:
    """Open or close the readiness gate of canary pods."""

    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    is_irreversible: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RunWorks:
    """The cache works that shall run now; every other one of this rollout is ended."""

    works: tuple[Work, ...] = ()

    @property
    def is_irreversible(self) -> bool:
        """Removed keys do not come back."""
        return any(isinstance(work, RetireWork) for work in self.works)


Action = (
    AddFinalizer
    | RemoveFinalizer
    | ConsumeRequest
    | KeepSnapshot
    | DropSnapshots
    | ApplyTarget
    | RestoreTarget
    | FreeTarget
    | ApplyCanary
    | DeleteCanary
    | SetAdmission
    | RunWorks
)
