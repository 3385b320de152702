"""Owner references: what belongs to whom is decided by UID, never by a name or a label."""

from cacherollout.adapters.kube.resources import Manifest
from cacherollout.api import names
from cacherollout.ports.workloads import RolloutObject


def reference_to(rollout: RolloutObject) -> Manifest:
    """The owner reference of everything that is created for a rollout."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.ROLLOUT_KIND,
        "name": rollout.key.name,
        "uid": rollout.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_controlled_by(manifest: Manifest, uid: str) -> bool:
    """Whether the object's controller has this UID."""
    references = manifest["metadata"].get("ownerReferences") or []
    return any(each.get("controller") and each.get("uid") == uid for each in references)


def controller_uid(manifest: Manifest) -> str:
    """UID of the object's controller; empty where it has none."""
    references = manifest["metadata"].get("ownerReferences") or []
    return next((str(each["uid"]) for each in references if each.get("controller")), "")


def is_terminating(manifest: Manifest) -> bool:
    """Whether the object's deletion has begun."""
    return manifest["metadata"].get("deletionTimestamp") is not None


def selector_of(manifest: Manifest) -> str:
    """The label selector of a Deployment, as a list request spells it."""
    selector = manifest["spec"]["selector"]
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or []:
        key, values = rule["key"], ",".join(rule.get("values") or [])
        match rule["operator"]:
            case "In":
                terms.append(f"{key} in ({values})")
            case "NotIn":
                terms.append(f"{key} notin ({values})")
            case "Exists":
                terms.append(key)
            case _:
                terms.append(f"!{key}")
    return ",".join(terms)
