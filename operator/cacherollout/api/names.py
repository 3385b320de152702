"""Every name the product shows to a cluster, in one place, and the functions that derive names.

One function per derived name: a lock taken under one spelling and looked for under another is a
bug that only shows at night.
"""

import hashlib
from typing import Final, NamedTuple

GROUP: Final = "cacherollout.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
ROLLOUT_KIND: Final = "CacheRollout"
ROLLOUT_PLURAL: Final = "cacherollouts"
BACKEND_KIND: Final = "CacheBackend"
BACKEND_PLURAL: Final = "cachebackends"

FIELD_MANAGER: Final = "cacherollout"
"""Server-side apply manager of everything the operator writes."""

FINALIZER: Final = f"{GROUP}/undo"
READINESS_GATE: Final = f"{GROUP}/admitted"
"""Pod condition that lets traffic in; only canary pods carry it as a readiness gate."""

LABEL_ROLLOUT: Final = f"{GROUP}/rollout"
"""On everything the operator creates: the name of the CacheRollout that owns it."""
LABEL_CANARY: Final = f"{GROUP}/canary-of"
"""On canary pods: the selector of their own Deployment."""

ANNOTATION_REVISION: Final = f"{GROUP}/revision"
ANNOTATION_ATTEMPT: Final = f"{GROUP}/attempt"
ANNOTATION_VERSION: Final = f"{GROUP}/cache-version"
ANNOTATION_REQUEST: Final = f"{GROUP}/request"
"""`promote|abort|retry|pause|resume`, optionally `verb/revision`; consumed once."""

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
POD_TEMPLATE_HASH: Final = "pod-template-hash"

MAX_NAME: Final = 253
MAX_LABEL: Final = 63


class Key(NamedTuple):
    """Identifies one namespaced object; the unit of the work queue."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def _bounded(stem: str, suffix: str, limit: int) -> str:
    """`stem + suffix`, shortened with a digest of the whole stem where it would not fit."""
    if len(stem) + len(suffix) <= limit:
        return stem + suffix
    digest = hashlib.sha256(stem.encode()).hexdigest()[:8]
    return f"{stem[: limit - len(suffix) - 9]}-{digest}{suffix}"


def canary_name(target: str) -> str:
    """Name of the canary Deployment; leaves room for the pods' generated suffixes."""
    return _bounded(target, "-canary", MAX_LABEL - 17)


def snapshot_name(rollout: str, revision: str) -> str:
    """Name of the ControllerRevision that keeps one pod template of the target."""
    return _bounded(rollout, f"-{revision}", MAX_NAME)


def label_value(name: str) -> str:
    """`name` as a label value: object names may be longer than labels."""
    return _bounded(name, "", MAX_LABEL)
