"""The releases that one image can play, chosen by `BLINGAUTO_RELEASE`.

In real life each of these would be an image of its own. The table is all that differs between them.
"""

from dataclasses import dataclass
from enum import Enum

from blingauto.views import User, UserV2, UserV3


class Defect(Enum):
    """What is wrong with a release; how it goes wrong is in `defects`."""

    NONE = "none"
    UNDECODABLE = "undecodable"
    WRONG_FIELD = "wrong-field"
    ERRORS = "errors"
    SLOW = "slow"
    NEVER_READY = "never-ready"


@dataclass(frozen=True, slots=True)
class Release:
    """A name, the shape of its users, and perhaps a defect."""

    name: str
    user: type[User]
    defect: Defect = Defect.NONE


_RELEASES = (
    Release("v2", UserV2),
    Release("v3", UserV3),
    *(Release(f"v4-{d.value}", UserV3, d) for d in Defect if d is not Defect.NONE),
)


def find_release(name: str) -> Release:
    """Look a release up; raises `ValueError` that lists the known ones."""
    for release in _RELEASES:
        if release.name == name:
            return release
    known = ", ".join(release.name for release in _RELEASES)
    raise ValueError(f"BLINGAUTO_RELEASE={name!r} is unknown; use one of {known}")
