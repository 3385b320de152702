"""The CacheRollout itself: reading it, its finalizer, a consumed request, and its status."""

from typing import Any, assert_never

from cacherollout.adapters.kube import owners
from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.resources import ROLLOUTS, Manifest
from cacherollout.api import names
from cacherollout.api.names import Key
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import AddFinalizer, ConsumeRequest, RemoveFinalizer
from cacherollout.core.facts import Problem, Request
from cacherollout.ports.errors import ConflictError
from cacherollout.ports.workloads import RolloutObject

Action = AddFinalizer | RemoveFinalizer | ConsumeRequest


async def carry_out(client: Client, rollout: RolloutObject, action: Action) -> None:
    """Do to the CacheRollout what the action says."""
    match action:
        case AddFinalizer():
            await add_finalizer(client, rollout)
        case RemoveFinalizer():
            await remove_finalizer(client, rollout)
        case ConsumeRequest():
            await consume_request(client, rollout, action.raw)
        case _:
            assert_never(action)


async def read(client: Client, key: Key) -> RolloutObject | None:
    """The CacheRollout as it is now; None where there is none."""
    manifest = await client.get(ROLLOUTS, key.namespace, key.name)
    return None if manifest is None else from_manifest(manifest)


def from_manifest(manifest: Manifest) -> RolloutObject:
    """The object that the API server stores, in the port's form."""
    metadata = manifest["metadata"]
    return RolloutObject(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 0)),
        resource_version=metadata["resourceVersion"],
        is_deleting=owners.is_terminating(manifest),
        has_finalizer=names.FINALIZER in (metadata.get("finalizers") or []),
        spec=manifest.get("spec") or {},
        status=manifest.get("status") or {},
        annotations=metadata.get("annotations") or {},
    )


async def write_status(
    client: Client, rollout: RolloutObject, status: dict[str, Any]
) -> RolloutObject:
    """Put the whole status, so that nothing old is left in it; the rest is not touched by it."""
    manifest = {
        "apiVersion": ROLLOUTS.api_version,
        "kind": ROLLOUTS.kind,
        "metadata": {
            "name": rollout.key.name,
            "namespace": rollout.key.namespace,
            "uid": rollout.uid,
            "resourceVersion": rollout.resource_version,
        },
        "spec": rollout.spec,
        "status": status,
    }
    return from_manifest(
        await client.replace(ROLLOUTS, rollout.key.namespace, manifest, subresource="status")
    )


async def add_finalizer(client: Client, rollout: RolloutObject) -> None:
    """Make sure that the object cannot vanish; none is added to one that is going already."""
    live = await client.get(ROLLOUTS, rollout.key.namespace, rollout.key.name)
    if live is None or live["metadata"]["uid"] != rollout.uid:
        raise ConflictError(f"CacheRollout {rollout.key} is gone")
    present = live["metadata"].get("finalizers") or []
    if names.FINALIZER not in present and not owners.is_terminating(live):
        await _patch_finalizers(client, live, [*present, names.FINALIZER])


async def remove_finalizer(client: Client, rollout: RolloutObject) -> None:
    """Let the object go; other finalizers stay."""
    live = await client.get(ROLLOUTS, rollout.key.namespace, rollout.key.name)
    if live is None or live["metadata"]["uid"] != rollout.uid:
        return
    present = live["metadata"].get("finalizers") or []
    if names.FINALIZER in present:
        kept = [each for each in present if each != names.FINALIZER]
        await _patch_finalizers(client, live, kept)


async def _patch_finalizers(client: Client, live: Manifest, finalizers: list[str]) -> None:
    metadata = live["metadata"]
    operations = [
        _test("/metadata/uid", metadata["uid"]),
        _test("/metadata/resourceVersion", metadata["resourceVersion"]),
        {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
    ]
    await client.json_patch(ROLLOUTS, metadata["namespace"], metadata["name"], operations)


async def consume_request(client: Client, rollout: RolloutObject, raw: str) -> None:
    """Remove the request, provided it is still this one; a newer one is left for the next pass."""
    path = "/metadata/annotations/" + names.ANNOTATION_REQUEST.replace("/", "~1")
    operations = [
        _test("/metadata/uid", rollout.uid),
        _test(path, raw),
        {"op": "remove", "path": path},
    ]
    await client.json_patch(ROLLOUTS, rollout.key.namespace, rollout.key.name, operations)


def request_of(rollout: RolloutObject) -> Request | None:
    """The person's request that the annotations carry: `verb` or `verb/revision`."""
    raw = rollout.annotations.get(names.ANNOTATION_REQUEST)
    if raw is None:
        return None
    verb, _, revision = raw.strip().partition("/")
    return Request(verb=verb, revision=revision or None, raw=raw)


async def find_conflict(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec
) -> Problem | None:
    """The problem that an older CacheRollout holds the same target, if one does."""
    target = spec.target_ref.name
    found = await client.select(
        ROLLOUTS, rollout.key.namespace, fields=f"spec.targetRef.name={target}"
    )
    first = min(found, key=_age, default=None)
    if first is None or first["metadata"]["uid"] == rollout.uid:
        return None
    return Problem(
        Reason.TARGET_CONFLICT,
        f"CacheRollout {first['metadata']['name']} is older and holds Deployment {target}; "
        "delete one of the two",
    )


def _age(manifest: Manifest) -> tuple[str, str]:
    """What makes one rollout older than another; the name decides within a second."""
    metadata = manifest["metadata"]
    return metadata["creationTimestamp"], metadata["name"]


def _test(path: str, value: str) -> Manifest:
    return {"op": "test", "path": path, "value": value}
