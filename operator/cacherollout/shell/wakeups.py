"""From an object that changed to the rollouts that should be looked at; knows no kopf.

A small index, filled by the events of the CacheRollouts themselves. It only decides who is woken,
never what is done: an entry that is missing or stale costs at most a resync period.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cacherollout.api import names
from cacherollout.api.names import Key


@dataclass(frozen=True, slots=True)
class _Known:
    """What a rollout refers to, and what of it the reconciler acts upon."""

    target: str
    backend: str
    look: tuple[object, ...]


class Wakeups:
    """Which keys an event wakes."""

    def __init__(self) -> None:
        self._known: dict[Key, _Known] = {}

    def __len__(self) -> int:
        """Rollouts that are known."""
        return len(self._known)

    def of_rollout(self, event: str | None, body: Mapping[str, Any]) -> tuple[Key, ...]:
        """A CacheRollout changed; changes of its status alone, our own, wake nobody."""
        meta = body.get("metadata") or {}
        key = Key(str(meta.get("namespace", "")), str(meta.get("name", "")))
        if event == "DELETED":
            known = self._known.pop(key, None)
            # A rollout that stood back behind this one may now have the target.
            rivals = self._naming(key.namespace, target=known.target) if known else ()
            return (key, *rivals)
        spec = body.get("spec") or {}
        known = _Known(
            target=_name(spec.get("targetRef")),
            backend=_name((spec.get("cache") or {}).get("backendRef")),
            look=_look(meta),
        )
        before = self._known.get(key)
        self._known[key] = known
        return () if event == "MODIFIED" and before == known else (key,)

    def of_deployment(self, body: Mapping[str, Any]) -> tuple[Key, ...]:
        """A Deployment changed: a target wakes who names it, a canary wakes who owns it."""
        meta = body.get("metadata") or {}
        namespace = str(meta.get("namespace", ""))
        named = self._naming(namespace, target=str(meta.get("name", "")))
        return tuple(dict.fromkeys((*named, *self._owning(namespace, meta))))

    def of_pod(self, body: Mapping[str, Any]) -> tuple[Key, ...]:
        """A labeled pod changed: a canary's readiness is waited for."""
        meta = body.get("metadata") or {}
        return tuple(self._owning(str(meta.get("namespace", "")), meta))

    def of_backend(self, body: Mapping[str, Any]) -> tuple[Key, ...]:
        """A CacheBackend changed: whoever uses it looks again."""
        meta = body.get("metadata") or {}
        namespace, name = str(meta.get("namespace", "")), str(meta.get("name", ""))
        return tuple(
            key
            for key, known in self._known.items()
            if key.namespace == namespace and known.backend == name
        )

    def _naming(self, namespace: str, *, target: str) -> tuple[Key, ...]:
        return tuple(
            key
            for key, known in self._known.items()
            if key.namespace == namespace and known.target == target
        )

    def _owning(self, namespace: str, meta: Mapping[str, Any]) -> Iterable[Key]:
        """By the label, which is the name, or a digest of it where that is too long for one."""
        label = (meta.get("labels") or {}).get(names.LABEL_ROLLOUT)
        if not label:
            return ()
        return [
            key
            for key in self._known
            if key.namespace == namespace and names.label_value(key.name) == label
        ]


def _name(reference: Any) -> str:
    return str(reference.get("name", "")) if isinstance(reference, Mapping) else ""


def _look(meta: Mapping[str, Any]) -> tuple[object, ...]:
    """Everything of the metadata that a pass acts upon; writing the status changes none of it."""
    return (
        meta.get("uid"),
        meta.get("generation"),
        meta.get("deletionTimestamp"),
        tuple(sorted((meta.get("annotations") or {}).items())),
        tuple(meta.get("finalizers") or ()),
    )
