"""Writes into the target: the hold, the version entry, a restore, and giving everything back.

Nothing else of the user's Deployment is ever written. Every write carries the resource version
that was decided upon, so that it fails where somebody else wrote in between.
"""

from collections.abc import Callable
from typing import Final, assert_never

from cacherollout.adapters.kube import (
    lastapplied,
    owners,
    ownership,
    readings,
    snapshots,
    templates,
)
from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.resources import DEPLOYMENTS, Manifest
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import ApplyTarget, FreeTarget, RestoreTarget
from cacherollout.ports.errors import ConflictError, DependencyError
from cacherollout.ports.workloads import RolloutObject

_TRIES: Final = 8
"""The Deployment's controller writes its status right after a restore; more races are a storm."""

_OWNERS: Final = "/metadata/managedFields"
_NOBODY: Final[list[Manifest]] = [{}]
"""An empty list would be taken for "as before"."""
_LAST_APPLIED: Final = "/metadata/annotations/" + lastapplied.ANNOTATION.replace("/", "~1")

Action = ApplyTarget | RestoreTarget | FreeTarget


async def carry_out(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, action: Action
) -> None:
    """Write what the action says into the target."""
    match action:
        case ApplyTarget():
            await hold(client, rollout, spec, action)
        case RestoreTarget():
            await restore(client, rollout, spec, action)
        case FreeTarget():
            await free(client, rollout, spec, action)
        case _:
            assert_never(action)


async def hold(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, action: ApplyTarget
) -> None:
    """Own the hold, and nothing else; write the version entry where it says something else."""
    live = await _live(client, rollout, spec, action.resource_version)
    live = await _finish_restore(client, rollout, spec, live)
    live = await _disown_template(client, live)
    metadata = live["metadata"]
    applied: Manifest = {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {key: metadata[key] for key in ("name", "uid", "resourceVersion")},
        "spec": {"paused": action.is_paused},
    }
    if action.entry is not None:
        reading = readings.read_template(live, spec)
        if reading.version != action.entry:
            entry = {"name": spec.cache.env, "value": action.entry}
            container = {"name": reading.container, "env": [entry]}
            applied["spec"]["template"] = {"spec": {"containers": [container]}}
    # Forced, since the hold must win: nothing but the fields above is in the applied object.
    live = await client.apply(DEPLOYMENTS, rollout.key.namespace, applied, force=True)
    await _disown_template(client, live)


async def restore(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, action: RestoreTarget
) -> None:
    """Put a kept template back, and its fields back in their owners' names.

    Two writes, since the API server puts what changes in the name of the writer. Cut short between
    them, the second is made up for by whatever is done to the target next.
    """
    live = await _live(client, rollout, spec, action.resource_version)
    kept = await snapshots.load(client, rollout, spec, action.revision)
    if kept is None:
        raise DependencyError(
            Reason.INTERNAL_ERROR,
            f"The template {action.revision} is kept nowhere any more; put the wanted template "
            "into the target yourself, then delete this CacheRollout and create it again",
        )
    template = kept.template
    if action.entry is not None or kept.is_env_ours:
        env = spec.cache.env
        template = templates.with_version(template, kept.container, env, action.entry)
    is_there = templates.is_same_template(live["spec"]["template"], template)
    if not is_there or bool(live["spec"].get("paused")) != action.is_paused:
        before = ownership.template_entries(live)
        operations: list[Manifest] = [
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "add", "path": "/spec/paused", "value": action.is_paused},
        ]
        applied = lastapplied.with_template(live, kept.last_applied)
        if applied is not None:
            operations.append({"op": "replace", "path": _LAST_APPLIED, "value": applied})
        live = await _patch(client, live, *operations)
        entries = before if kept.entries is None else ownership.heirs(kept.entries, before)
    else:
        entries = kept.entries or []
    await _hand_back(client, live, entries)


async def free(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, action: FreeTarget
) -> None:
    """Lift the hold and own nothing any more; the version entry stays, so that no pod restarts."""
    live = await _live(client, rollout, spec, action.resource_version)
    live = await _finish_restore(client, rollout, spec, live)
    entries = ownership.without_ours(ownership.entries_of(live))
    await _patch(
        client,
        live,
        {"op": "add", "path": "/spec/paused", "value": False},
        {"op": "replace", "path": _OWNERS, "value": entries or _NOBODY},
    )


async def _live(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, resource_version: str
) -> Manifest:
    """The target as it was decided upon; ConflictError where it is not that any more."""
    live = await client.get(DEPLOYMENTS, rollout.key.namespace, spec.target_ref.name)
    if live is None or owners.is_terminating(live):
        raise ConflictError(f"Deployment {spec.target_ref.name} is gone or going")
    if live["metadata"]["resourceVersion"] != resource_version:
        raise ConflictError(f"Deployment {spec.target_ref.name} was changed by somebody else")
    return live


async def _finish_restore(
    client: Client, rollout: RolloutObject, spec: CacheRolloutSpec, live: Manifest
) -> Manifest:
    """Hand back what an interrupted restore left in our name."""
    if not ownership.has_remains(live):
        return live
    reading = readings.read_template(live, spec, is_lenient=True)
    kept = None
    for is_ours in (reading.is_env_ours, not reading.is_env_ours):
        revision = templates.revision_of(
            live["spec"]["template"], reading.container, spec.cache.env, is_env_ours=is_ours
        )
        kept = kept or await snapshots.load(client, rollout, spec, revision)
    entries = kept.entries if kept else None
    return await _hand_back(client, live, entries or [])


async def _hand_back(client: Client, live: Manifest, kept: ownership.Entries) -> Manifest:
    """Give what a restore wrote to those who owned it when the template was kept."""

    def owners_after(manifest: Manifest) -> ownership.Entries | None:
        if not ownership.has_remains(manifest):
            return None
        is_paused = bool(manifest["spec"].get("paused"))
        return ownership.handed_back(ownership.entries_of(manifest), kept, is_paused=is_paused)

    return await _set_owners(client, live, owners_after)


async def _disown_template(client: Client, live: Manifest) -> Manifest:
    """Leave the version entry, and give up owning it."""

    def owners_after(manifest: Manifest) -> ownership.Entries | None:
        if not ownership.is_template_ours(manifest):
            return None
        return ownership.with_hold_alone(ownership.entries_of(manifest))

    return await _set_owners(client, live, owners_after)


async def _set_owners(
    client: Client,
    live: Manifest,
    owners_after: Callable[[Manifest], ownership.Entries | None],
) -> Manifest:
    """Write the owners and nothing else, on the newest object; None leaves them as they are."""
    metadata = live["metadata"]
    for _ in range(_TRIES):
        entries = owners_after(live)
        if entries is None:
            return live
        operation = {"op": "replace", "path": _OWNERS, "value": entries or _NOBODY}
        try:
            return await _patch(client, live, operation)
        except ConflictError:
            fresh = await client.get(DEPLOYMENTS, metadata["namespace"], metadata["name"])
            if fresh is None or fresh["metadata"]["uid"] != metadata["uid"]:
                raise
            live = fresh
    raise ConflictError(f"Deployment {metadata['name']} changes too fast to set its owners")


async def _patch(client: Client, live: Manifest, *operations: Manifest) -> Manifest:
    metadata = live["metadata"]
    tests = [
        {"op": "test", "path": f"/metadata/{field}", "value": metadata[field]}
        for field in ("uid", "resourceVersion")
    ]
    return await client.json_patch(
        DEPLOYMENTS, metadata["namespace"], metadata["name"], [*tests, *operations]
    )
