"""One live look at everything Kubernetes knows of a rollout, as facts of the core.

Reads only. What belongs to what is decided by owners' UIDs: ReplicaSets by their Deployment, pods
by their ReplicaSet. Labels merely narrow the lists.
"""

import asyncio
from dataclasses import dataclass, replace

from cacherollout.adapters.kube import owners, ownership, rollouts, snapshots, templates
from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.pods import Side, has_condition, is_over, pod_facts
from cacherollout.adapters.kube.readings import Reading, read_template
from cacherollout.adapters.kube.resources import (
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    Manifest,
)
from cacherollout.api import names
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.facts import CanaryFacts, Observed, PodFacts, TargetFacts
from cacherollout.ports.workloads import RolloutObject

_NEWEST = "deployment.kubernetes.io/revision"


async def observe(client: Client, rollout: RolloutObject, spec: CacheRolloutSpec) -> Observed:
    """Everything but the cache and the measurements.

    Raises SpecError where the target's template does not say which version it runs; not while the
    CacheRollout is being deleted, which must not depend on it.
    """
    namespace, target = rollout.key.namespace, spec.target_ref.name
    deployment, canary, kept, problem, is_dying = await asyncio.gather(
        client.get(DEPLOYMENTS, namespace, target),
        client.get(DEPLOYMENTS, namespace, names.canary_name(target)),
        snapshots.list_kept(client, rollout),
        rollouts.find_conflict(client, rollout, spec),
        _is_dying(client, rollout),
    )
    if deployment is not None and (is_dying or owners.is_terminating(deployment)):
        # Nothing is written into what is going away, and there is nothing left to protect.
        deployment = None
    sides = await _sides(client, rollout, spec, deployment, canary, kept)
    return Observed(
        uid=rollout.uid,
        name=rollout.key.name,
        generation=rollout.generation,
        is_deleting=rollout.is_deleting,
        has_finalizer=rollout.has_finalizer,
        request=rollouts.request_of(rollout),
        problem=problem,
        target=sides.target,
        canary=_canary_facts(canary, rollout) if canary and not is_dying else None,
        pods=sides.pods,
        snapshots=frozenset(snapshots.revision_of(each) for each in kept),
    )


async def _is_dying(client: Client, rollout: RolloutObject) -> bool:
    """Whether the namespace is being deleted; only a dying rollout has reason to ask."""
    if not rollout.is_deleting:
        return False
    name = rollout.key.namespace
    namespace = await client.get(NAMESPACES, name, name)
    return namespace is None or owners.is_terminating(namespace)


@dataclass(frozen=True, slots=True)
class _Sides:
    """Target and pods: what needs the template read before it means anything."""

    target: TargetFacts | None
    pods: tuple[PodFacts, ...]


async def _sides(
    client: Client,
    rollout: RolloutObject,
    spec: CacheRolloutSpec,
    deployment: Manifest | None,
    canary: Manifest | None,
    kept: list[Manifest],
) -> _Sides:
    namespace, label = rollout.key.namespace, names.label_value(rollout.key.name)
    # Canary pods carry every label of the target's template: one list finds both sides.
    ours = f"{names.LABEL_CANARY}={label}"
    selector = owners.selector_of(deployment) if deployment else ours
    sets, found = await asyncio.gather(
        client.select(REPLICA_SETS, namespace, labels=selector),
        client.select(PODS, namespace, labels=selector),
    )
    container, target, facts = spec.target_ref.container or "", None, list[PodFacts]()
    if deployment is not None:
        reading = read_template(deployment, spec, is_lenient=rollout.is_deleting)
        container = reading.container
        mine = [each for each in sets if owners.is_controlled_by(each, _uid(deployment))]
        known = frozenset(snapshots.revision_of(each) for each in kept)
        by_set = _group(found)
        target = target_facts(deployment, reading, mine, by_set)
        for each in mine:
            revision = set_revision(each, deployment, reading, spec.cache.env, known)
            side = Side(is_canary=False, revision=revision, container=container, env=spec.cache.env)
            facts += [pod_facts(pod, side) for pod in by_set.get(_uid(each), [])]
    is_ours = canary is not None and owners.is_controlled_by(canary, rollout.uid)
    own = canary if is_ours else None
    revision = _annotation(own, names.ANNOTATION_REVISION) if own else ""
    side = Side(is_canary=True, revision=revision, container=container, env=spec.cache.env)
    living = {_uid(each) for each in sets if own and owners.is_controlled_by(each, _uid(own))}
    return _Sides(target, (*facts, *_canary_pods(found, side, living, label)))


def _canary_pods(found: list[Manifest], side: Side, living: set[str], label: str) -> list[PodFacts]:
    """The canary's pods, by the UIDs of its living ReplicaSets.

    Pods that carry its label but outlive it are on their way out: they may still write keys, so
    they are shown as terminating, which counts them for nothing else.
    """
    facts = []
    for pod in found:
        if owners.controller_uid(pod) in living:
            facts.append(pod_facts(pod, side))
        elif (pod["metadata"].get("labels") or {}).get(names.LABEL_CANARY) == label:
            facts.append(replace(pod_facts(pod, side), is_terminating=True))
    return facts


def set_revision(
    replica_set: Manifest,
    deployment: Manifest,
    reading: Reading,
    env: str,
    known: frozenset[str],
) -> str:
    """The revision of a ReplicaSet's template.

    A ReplicaSet does not say whose its version entry is. The present template's is known; of an
    older one, the reading that is the revision of a snapshot is taken.
    """
    template = templates.without_hash(replica_set["spec"]["template"])
    if templates.is_same_template(template, deployment["spec"]["template"]):
        return reading.revision
    stated, bare = (
        templates.revision_of(template, reading.container, env, is_env_ours=is_ours)
        for is_ours in (False, True)
    )
    for revision in (stated, bare):
        if revision in known or revision == reading.revision:
            return revision
    return bare if reading.is_env_ours else stated


def target_facts(
    deployment: Manifest,
    reading: Reading,
    sets: list[Manifest],
    by_set: dict[str, list[Manifest]],
) -> TargetFacts:
    """The target as the core sees it. Pure."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = spec["template"]
    live = [pod for each in sets for pod in _living(by_set, each)]
    newest = max(sets, key=_number, default=None)
    current = [each for each in sets if templates.is_same_template(_template(each), template)]
    updated = [pod for each in current for pod in _living(by_set, each)]
    return TargetFacts(
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        revision=reading.revision,
        is_paused=bool(spec.get("paused")),
        replicas=int(spec.get("replicas", 1)),
        ready=sum(has_condition(pod, "Ready") for pod in live),
        is_complete=is_complete(deployment),
        stated_version=reading.stated,
        running_version=reading.version,
        container=reading.container,
        is_owned=ownership.is_owner(deployment),
        is_restart=(
            not current
            and newest is not None
            and templates.is_restart_of(template, _template(newest))
        ),
        updated=len(updated),
        updated_ready=sum(has_condition(pod, "Ready") for pod in updated),
    )


def is_complete(deployment: Manifest) -> bool:
    """Whether every pod runs the newest template and is available: `kubectl rollout status`."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    seen = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"]["generation"])
    counts = (
        int(status.get(field, 0)) for field in ("updatedReplicas", "replicas", "availableReplicas")
    )
    return seen and all(count == wanted for count in counts)


def _canary_facts(canary: Manifest, rollout: RolloutObject) -> CanaryFacts:
    attempt = _annotation(canary, names.ANNOTATION_ATTEMPT)
    return CanaryFacts(
        uid=_uid(canary),
        is_ours=owners.is_controlled_by(canary, rollout.uid),
        attempt=int(attempt) if attempt.isdecimal() else 0,
        revision=_annotation(canary, names.ANNOTATION_REVISION),
        version=_annotation(canary, names.ANNOTATION_VERSION),
        replicas=int(canary["spec"].get("replicas", 1)),
        is_terminating=owners.is_terminating(canary),
    )


def _living(by_set: dict[str, list[Manifest]], replica_set: Manifest) -> list[Manifest]:
    return [
        pod
        for pod in by_set.get(_uid(replica_set), [])
        if not owners.is_terminating(pod) and not is_over(pod)
    ]


def _group(found: list[Manifest]) -> dict[str, list[Manifest]]:
    """Pods by the UID of their controller."""
    grouped: dict[str, list[Manifest]] = {}
    for pod in found:
        grouped.setdefault(owners.controller_uid(pod), []).append(pod)
    return grouped


def _template(replica_set: Manifest) -> Manifest:
    template: Manifest = replica_set["spec"]["template"]
    return template


def _number(replica_set: Manifest) -> int:
    """Age rank of a ReplicaSet among those of its Deployment."""
    number = _annotation(replica_set, _NEWEST)
    return int(number) if number.isdecimal() else 0


def _uid(manifest: Manifest) -> str:
    return str(manifest["metadata"]["uid"])


def _annotation(manifest: Manifest, key: str) -> str:
    return str((manifest["metadata"].get("annotations") or {}).get(key, ""))
