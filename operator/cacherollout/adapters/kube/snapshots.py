"""Kept pod templates: what a roll-back puts back, and what a canary is made from.

A snapshot is a ControllerRevision that the CacheRollout owns: the template exactly as it was, and
who owned which of its fields.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, assert_never

from cacherollout.adapters.kube import lastapplied, owners, ownership, readings, templates
from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    REPLICA_SETS,
    Manifest,
)
from cacherollout.api import names
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import DropSnapshots, KeepSnapshot
from cacherollout.ports.errors import ConflictError, DependencyError
from cacherollout.ports.workloads import RolloutObject


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One kept template."""

    revision: str
    template: Manifest
    container: str
    """Container that carried the version."""
    is_env_ours: bool
    """The version entry in it, if any, was the operator's."""
    entries: ownership.Entries | None
    """Who owned its fields; None where that is no longer known."""
    last_applied: Manifest | None
    """The same template as client-side apply remembered it, if it did."""


Action = KeepSnapshot | DropSnapshots


async def carry_out(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, action: Action
) -> None:
    """Keep or drop what the action says."""
    match action:
        case KeepSnapshot():
            await keep(client, rollout, spec, action.revision)
        case DropSnapshots():
            await drop(client, rollout, action.kept)
        case _:
            assert_never(action)


async def keep(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, revision: str
) -> None:
    """Keep the target's present template under its revision.

    ConflictError where the target no longer has that revision.
    """
    namespace = rollout.key.namespace
    name = names.snapshot_name(rollout.key.name, revision)
    present = await client.get(CONTROLLER_REVISIONS, namespace, name)
    if present is not None:
        if owners.is_controlled_by(present, rollout.uid):
            return
        raise DependencyError(
            Reason.NAME_CONFLICT, f"ControllerRevision {name} exists and is not of this rollout"
        )
    live = await client.get(DEPLOYMENTS, namespace, spec.target_ref.name)
    if live is None or owners.is_terminating(live):
        raise ConflictError(f"Deployment {spec.target_ref.name} is gone")
    reading = readings.read_template(live, spec)
    if reading.revision != revision:
        raise ConflictError(f"the target's template is {reading.revision} now, not {revision}")
    await client.create(CONTROLLER_REVISIONS, namespace, manifest(rollout, live, reading))


def manifest(rollout: RolloutObject, live: Manifest, reading: readings.Reading) -> Manifest:
    """The object that keeps the template of `live`."""
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": names.snapshot_name(rollout.key.name, reading.revision),
            "namespace": rollout.key.namespace,
            "labels": {names.LABEL_ROLLOUT: names.label_value(rollout.key.name)},
            "annotations": {names.ANNOTATION_REVISION: reading.revision},
            "ownerReferences": [owners.reference_to(rollout)],
        },
        "revision": 1,
        "data": {
            "template": live["spec"]["template"],
            "container": reading.container,
            "isEnvOurs": reading.is_env_ours,
            "managedFields": ownership.template_entries(live),
            "lastApplied": lastapplied.template_in(live),
        },
    }


async def list_kept(client: Client, rollout: RolloutObject) -> list[Manifest]:
    """The snapshots of this very rollout, by UID: one of the same name may have died before."""
    found = await client.select(
        CONTROLLER_REVISIONS,
        rollout.key.namespace,
        labels=f"{names.LABEL_ROLLOUT}={names.label_value(rollout.key.name)}",
    )
    return [each for each in found if owners.is_controlled_by(each, rollout.uid)]


def revision_of(kept: Manifest) -> str:
    """The revision that a snapshot keeps."""
    return str((kept["metadata"].get("annotations") or {}).get(names.ANNOTATION_REVISION, ""))


async def drop(client: Client, rollout: RolloutObject, kept: frozenset[str]) -> None:
    """Drop every snapshot of this rollout but those of the revisions in `kept`."""
    found = await list_kept(client, rollout)
    await asyncio.gather(
        *(
            client.delete(
                CONTROLLER_REVISIONS,
                rollout.key.namespace,
                each["metadata"]["name"],
                uid=each["metadata"]["uid"],
            )
            for each in found
            if revision_of(each) not in kept
        )
    )


async def load(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, revision: str
) -> Snapshot | None:
    """The kept template; where it was lost, a ReplicaSet of the target that still has it."""
    name = names.snapshot_name(rollout.key.name, revision)
    found = await client.get(CONTROLLER_REVISIONS, rollout.key.namespace, name)
    if found is not None and owners.is_controlled_by(found, rollout.uid):
        data: dict[str, Any] = found["data"]
        return Snapshot(
            revision,
            data["template"],
            data["container"],
            bool(data["isEnvOurs"]),
            data["managedFields"],
            data.get("lastApplied"),
        )
    return await _recover(client, rollout, spec, revision)


async def _recover(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, revision: str
) -> Snapshot | None:
    namespace, env = rollout.key.namespace, spec.cache.env
    live = await client.get(DEPLOYMENTS, namespace, spec.target_ref.name)
    if live is None:
        return None
    container = readings.read_template(live, spec, is_lenient=True).container
    sets = await client.select(REPLICA_SETS, namespace, labels=owners.selector_of(live))
    for each in sets:
        if not owners.is_controlled_by(each, live["metadata"]["uid"]):
            continue
        template = templates.without_hash(each["spec"]["template"])
        for is_ours in (True, False):
            if templates.revision_of(template, container, env, is_env_ours=is_ours) == revision:
                return Snapshot(revision, template, container, is_ours, None, None)
    return None
