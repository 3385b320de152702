"""The canary: a Deployment of its own, made from a kept template, and the gates of its pods."""

import asyncio
from typing import Final, assert_never

from cacherollout.adapters.kube import owners, snapshots, templates
from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.resources import DEPLOYMENTS, PODS, Manifest
from cacherollout.adapters.kube.times import rfc3339
from cacherollout.api import names
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import ApplyCanary, DeleteCanary, SetAdmission
from cacherollout.ports.errors import ConflictError, DependencyError
from cacherollout.ports.workloads import RolloutObject

PROGRESS_SLACK_SECONDS: Final = 600
"""A closed gate makes pods unready on purpose; the Deployment must not be called stuck for it."""


Action = ApplyCanary | DeleteCanary | SetAdmission


async def carry_out(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, action: Action, now: float
) -> None:
    """Do to the canary what the action says; `now` is in seconds since the epoch."""
    match action:
        case ApplyCanary():
            await apply(client, rollout, spec, action)
        case DeleteCanary():
            name = names.canary_name(spec.target_ref.name)
            await client.delete(DEPLOYMENTS, rollout.key.namespace, name, uid=action.uid)
        case SetAdmission():
            await set_admission(client, rollout, action, now)
        case _:
            assert_never(action)


async def apply(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, action: ApplyCanary
) -> None:
    """Create the canary, or give the one that is there its size.

    Its template is never updated in place: ConflictError where it is of another attempt, since
    that one must be deleted first. DependencyError NAME_CONFLICT where it is not ours.
    """
    namespace, name = rollout.key.namespace, names.canary_name(spec.target_ref.name)
    present = await client.get(DEPLOYMENTS, namespace, name)
    if present is not None:
        await _resize(client, rollout, present, action)
        return
    kept = await snapshots.load(client, rollout, spec, action.revision)
    if kept is None:
        raise ConflictError(f"the template {action.revision} is not kept")
    await client.create(DEPLOYMENTS, namespace, manifest(rollout, spec, kept, action))


async def _resize(
    client: Client, rollout: RolloutObject, present: Manifest, action: ApplyCanary
) -> None:
    metadata = present["metadata"]
    if not owners.is_controlled_by(present, rollout.uid):
        raise DependencyError(
            Reason.NAME_CONFLICT,
            f"Deployment {metadata['name']} exists and is not of this CacheRollout; "
            "rename or delete it",
        )
    annotations = metadata.get("annotations") or {}
    is_same = (
        annotations.get(names.ANNOTATION_ATTEMPT) == str(action.attempt)
        and annotations.get(names.ANNOTATION_REVISION) == action.revision
    )
    if owners.is_terminating(present) or not is_same:
        raise ConflictError(f"Deployment {metadata['name']} is of another attempt, or going away")
    if present["spec"].get("replicas") == action.replicas:
        return
    # The UID is enough: nobody else sizes it, and its controller writes the status all the time.
    patch = {"metadata": {"uid": metadata["uid"]}, "spec": {"replicas": action.replicas}}
    await client.merge_patch(DEPLOYMENTS, rollout.key.namespace, metadata["name"], patch)


def manifest(
    rollout: RolloutObject,
    spec: CacheRolloutSpec,
    kept: snapshots.Snapshot,
    action: ApplyCanary,
) -> Manifest:
    """The canary Deployment of an attempt. Pure."""
    label = names.label_value(rollout.key.name)
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {
            "name": names.canary_name(spec.target_ref.name),
            "namespace": rollout.key.namespace,
            "labels": {names.LABEL_ROLLOUT: label},
            "annotations": {
                names.ANNOTATION_REVISION: action.revision,
                names.ANNOTATION_ATTEMPT: str(action.attempt),
                names.ANNOTATION_VERSION: action.version,
            },
            "ownerReferences": [owners.reference_to(rollout)],
        },
        "spec": {
            "replicas": action.replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": int(2 * spec.deadline) + PROGRESS_SLACK_SECONDS,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {names.LABEL_CANARY: label}},
            "template": templates.canary_template(
                kept.template,
                kept.container,
                spec.cache.env,
                rollout=rollout.key.name,
                version=action.version,
            ),
        },
    }


async def set_admission(
    client: Client, rollout: RolloutObject, action: SetAdmission, now: float
) -> None:
    """Open and close the gates, all at once; pods that are gone are as good as closed."""
    label = names.label_value(rollout.key.name)
    pods = await client.select(PODS, rollout.key.namespace, labels=f"{names.LABEL_CANARY}={label}")
    at = rfc3339(now)
    patches = []
    for pod in pods:
        name = pod["metadata"]["name"]
        # A pod that is asked for both ways stays out: closing is the safe side.
        if name in action.closed:
            patches.append(_patch_gate(client, pod, at, is_open=False))
        elif name in action.opened and not owners.is_terminating(pod):
            patches.append(_patch_gate(client, pod, at, is_open=True))
    failed = [each for each in await asyncio.gather(*patches, return_exceptions=True) if each]
    for error in failed:
        # One vanished pod must not keep the others' gates from being set: all were tried.
        if not isinstance(error, ConflictError):
            raise error


async def _patch_gate(client: Client, pod: Manifest, at: str, *, is_open: bool) -> None:
    metadata, wanted = pod["metadata"], "True" if is_open else "False"
    conditions = pod.get("status", {}).get("conditions") or []
    if any(
        each["type"] == names.READINESS_GATE and each["status"] == wanted for each in conditions
    ):
        return
    condition = {
        "type": names.READINESS_GATE,
        "status": wanted,
        "reason": "Admitted" if is_open else "Withheld",
        "message": "May take traffic." if is_open else "Must not take traffic.",
        "lastTransitionTime": at,
    }
    patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}}
    await client.patch_status(PODS, metadata["namespace"], metadata["name"], patch)
