"""Pod templates: their revision, the container and value of the cache version, and the canary.

Pure. A template has the same revision wherever it is read from: the target, its ReplicaSets, a kept
snapshot, or the canary made from it. What the operator itself adds is not part of it, and neither
is a restart mark: a restart is not a release.
"""

import copy
import hashlib
import json
from typing import Any, Final

from cacherollout.adapters.kube.resources import Manifest
from cacherollout.api import names
from cacherollout.ports.errors import SpecError

REVISION_LENGTH: Final = 10
_OWN_LABELS: Final = (names.POD_TEMPLATE_HASH, names.LABEL_CANARY, names.LABEL_ROLLOUT)


def revision_of(template: Manifest, container: str, env: str, *, is_env_ours: bool) -> str:
    """Digest of what a release consists of: lower case, hexadecimal.

    `is_env_ours` says that the version entry of `container` was written by the operator, so that
    it is no part of the release.
    """
    bare = copy.deepcopy(template)
    metadata = bare.setdefault("metadata", {})
    metadata.pop("creationTimestamp", None)
    _drop(metadata, "labels", _OWN_LABELS)
    _drop(metadata, "annotations", (names.RESTARTED_AT,))
    spec = bare.setdefault("spec", {})
    gates = [gate for gate in spec.pop("readinessGates", None) or [] if not _is_gate(gate)]
    if gates:
        spec["readinessGates"] = gates
    for part in spec.get("containers") or []:
        entries = part.pop("env", None) or []
        if is_env_ours and part.get("name") == container:
            entries = [entry for entry in entries if entry.get("name") != env]
        if entries:
            part["env"] = entries
    canonical = json.dumps(bare, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:REVISION_LENGTH]


def is_same_template(one: Manifest, other: Manifest) -> bool:
    """Whether the Deployment controller takes two templates for one."""
    return _without_hash(one) == _without_hash(other)


def is_restart_of(template: Manifest, earlier: Manifest) -> bool:
    """Whether a template differs from an earlier one by its restart mark and nothing else."""
    if is_same_template(template, earlier):
        return False
    return _without_restart(template) == _without_restart(earlier)


def version_container(template: Manifest, env: str, named: str | None) -> str:
    """Name of the container that reads the cache version.

    The one that the spec names, else the only one that has the variable, else the only one.
    SpecError names the field to set where that leaves a choice.
    """
    containers = template.get("spec", {}).get("containers") or []
    present = [str(part["name"]) for part in containers]
    if named is not None:
        if named not in present:
            raise SpecError(
                f"targetRef.container: {named!r} is not in the target's template; "
                f"use one of {', '.join(present)}"
            )
        return named
    having = [str(part["name"]) for part in containers if _find_env(part, env) is not None]
    candidates = having or present
    if len(candidates) == 1:
        return candidates[0]
    raise SpecError(
        f"targetRef.container is missing: {', '.join(candidates)} could each read {env}; "
        "name the one that does"
    )


def version_in(template: Manifest, container: str, env: str) -> str | None:
    """The value of the version entry; None where there is none.

    SpecError where it is not literal: the operator must be able to read it and to change it.
    """
    for part in template.get("spec", {}).get("containers") or []:
        entry = _find_env(part, env) if part.get("name") == container else None
        if entry is None:
            continue
        if "valueFrom" in entry:
            raise SpecError(
                f"cache.env: {env} of container {container!r} comes from valueFrom; write it as a "
                "literal value, or remove it and let the operator set it"
            )
        return str(entry.get("value") or "") or None
    return None


def with_version(template: Manifest, container: str, env: str, version: str | None) -> Manifest:
    """A copy of the template whose version entry says `version`; None removes the entry."""
    changed = copy.deepcopy(template)
    for part in changed.get("spec", {}).get("containers") or []:
        if part.get("name") != container:
            continue
        entry = _find_env(part, env)
        if version is None:
            part["env"] = [other for other in part.get("env") or [] if other is not entry]
        elif entry is not None:
            entry.clear()
            entry.update(name=env, value=version)
        else:
            part["env"] = [*(part.get("env") or []), {"name": env, "value": version}]
    return changed


def without_hash(template: Manifest) -> Manifest:
    """A ReplicaSet's template as its Deployment has it."""
    bare = copy.deepcopy(template)
    _drop(bare.setdefault("metadata", {}), "labels", (names.POD_TEMPLATE_HASH,))
    return bare


def canary_template(
    template: Manifest, container: str, env: str, *, rollout: str, version: str
) -> Manifest:
    """The template of canary pods: the whole release, its cache version, and our readiness gate."""
    changed = with_version(without_hash(template), container, env, version)
    metadata, spec = changed["metadata"], changed["spec"]
    metadata.pop("creationTimestamp", None)
    _drop(metadata, "annotations", (names.RESTARTED_AT,))
    label = names.label_value(rollout)
    metadata["labels"] = {
        **(metadata.get("labels") or {}),
        names.LABEL_CANARY: label,
        names.LABEL_ROLLOUT: label,
    }
    gates = [gate for gate in spec.get("readinessGates") or [] if not _is_gate(gate)]
    spec["readinessGates"] = [*gates, {"conditionType": names.READINESS_GATE}]
    return changed


def _drop(metadata: Manifest, field: str, keys: tuple[str, ...]) -> None:
    """Remove keys from a map, and the map with its last key: absent and empty are the same."""
    kept: Manifest = dict(metadata.pop(field, None) or {})
    for key in keys:
        kept.pop(key, None)
    if kept:
        metadata[field] = kept


def _is_gate(gate: Manifest) -> bool:
    return gate.get("conditionType") == names.READINESS_GATE


def _find_env(part: Manifest, env: str) -> dict[str, Any] | None:
    entries: list[dict[str, Any]] = part.get("env") or []
    return next((entry for entry in entries if entry.get("name") == env), None)


def _without_hash(template: Manifest) -> Manifest:
    bare = without_hash(template)
    bare["metadata"].pop("creationTimestamp", None)
    return bare


def _without_restart(template: Manifest) -> Manifest:
    bare = _without_hash(template)
    _drop(bare["metadata"], "annotations", (names.RESTARTED_AT,))
    return bare
