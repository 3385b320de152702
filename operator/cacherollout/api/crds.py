"""The CustomResourceDefinitions, built from the models. `make crds` writes them to crds/."""

from typing import Any

from cacherollout.api import names
from cacherollout.api.backend import CacheBackendSpec
from cacherollout.api.models import Model
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.api.schema import structural
from cacherollout.api.status import CacheBackendStatus, CacheRolloutStatus

_ROLLOUT_COLUMNS = (
    ("Phase", "string", ".status.phase", 0),
    ("Version", "string", ".status.versions", 0),
    ("Warm", "string", ".status.warm.summary", 0),
    ("Weight", "number", ".status.weightPercent", 0),
    ("HitRate", "number", ".status.target.hitRatePercent", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Message", "string", ".status.message", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)
_BACKEND_COLUMNS = (
    ("Address", "string", ".spec.redis.address", 0),
    ("Prefixes", "string", ".spec.keyPrefixes", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)


def definitions() -> list[dict[str, Any]]:
    """Both definitions, as manifests."""
    rollout = _definition(
        kind=names.ROLLOUT_KIND,
        plural=names.ROLLOUT_PLURAL,
        short="crl",
        models=(CacheRolloutSpec, CacheRolloutStatus),
        columns=_ROLLOUT_COLUMNS,
        selectable=(".spec.targetRef.name",),
        description="Holds a Deployment and rolls its releases out together with their cache.",
    )
    backend = _definition(
        kind=names.BACKEND_KIND,
        plural=names.BACKEND_PLURAL,
        short="cbe",
        models=(CacheBackendSpec, CacheBackendStatus),
        columns=_BACKEND_COLUMNS,
        description="A cache that rollouts of this namespace may use, and what they may touch.",
    )
    return [rollout, backend]


def _definition(
    *,
    kind: str,
    plural: str,
    short: str,
    models: tuple[type[Model], type[Model]],
    columns: tuple[tuple[str, str, str, int], ...],
    description: str,
    selectable: tuple[str, ...] = (),
) -> dict[str, Any]:
    spec, status = models
    version: dict[str, Any] = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind_, "jsonPath": path, "priority": priority}
            for name, kind_, path, priority in columns
        ],
        "schema": {
            "openAPIV3Schema": {
                "description": description,
                "type": "object",
                "required": ["spec"],
                "properties": {
                    "apiVersion": {"type": "string", "description": "Version of this schema."},
                    "kind": {"type": "string", "description": f"Always {kind}."},
                    "metadata": {"type": "object"},
                    "spec": structural(spec),
                    "status": _without_defaults(structural(status)),
                },
            }
        },
    }
    if selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
            },
            "versions": [version],
        },
    }


def _without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """A status is what the operator wrote: the API server must not add parts that say nothing."""
    kept = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in kept:
        parts = kept["properties"].items()
        kept["properties"] = {name: _without_defaults(part) for name, part in parts}
    if "items" in kept:
        kept["items"] = _without_defaults(kept["items"])
    return kept
