"""From manifests to facts, without an API server."""

from typing import Any

import pytest

from cacherollout.adapters.kube import lastapplied, observation, owners, rollouts, templates
from cacherollout.adapters.kube.canaries import manifest
from cacherollout.adapters.kube.readings import read_template
from cacherollout.adapters.kube.snapshots import Snapshot
from cacherollout.api import names
from cacherollout.api.names import Key
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import ApplyCanary
from cacherollout.core.facts import Request
from cacherollout.ports.errors import SpecError
from cacherollout.ports.workloads import RolloutObject

SPEC = CacheRolloutSpec.model_validate(
    {
        "targetRef": {"name": "api"},
        "cache": {
            "backendRef": {"name": "main"},
            "families": [{"name": "user", "key": "user:{version}:{id}"}],
        },
    }
)


def template(image: str = "api:1", version: str | None = None, **annotations: str) -> Any:
    container: dict[str, Any] = {"name": "api", "image": image}
    if version:
        container["env"] = [{"name": "CACHE_VERSION", "value": version}]
    metadata: dict[str, Any] = {"labels": {"app": "api"}}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": {"containers": [container]}}


def deployment(given: Any = None, *, status: Any = None, **spec: Any) -> Any:
    return {
        "metadata": {"uid": "d1", "resourceVersion": "7", "generation": 3},
        "spec": {"replicas": 2, "template": given or template(), **spec},
        "status": status or {},
    }


def replica_set(uid: str, number: int, given: Any) -> Any:
    marked = {**given, "metadata": {**given["metadata"]}}
    marked["metadata"]["labels"] = {**given["metadata"]["labels"], "pod-template-hash": uid}
    annotations = {"deployment.kubernetes.io/revision": str(number)}
    return {"metadata": {"uid": uid, "annotations": annotations}, "spec": {"template": marked}}


def pod(*, is_ready: bool = True, **status: Any) -> Any:
    conditions = [{"type": "Ready", "status": str(is_ready)}]
    return {"metadata": {"name": "p", "uid": "p"}, "status": {"conditions": conditions, **status}}


def rollout(**more: Any) -> RolloutObject:
    given: dict[str, Any] = {
        "key": Key("shop", "api"),
        "uid": "r1",
        "generation": 1,
        "resource_version": "1",
        "is_deleting": False,
        "has_finalizer": True,
        "spec": {},
        "status": {},
        "annotations": {},
    }
    return RolloutObject(**{**given, **more})


DONE = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
STATES = {
    "every pod is new and available": (DONE, True),
    "the controller has not looked yet": ({**DONE, "observedGeneration": 2}, False),
    "old pods are still there": ({**DONE, "replicas": 3}, False),
    "a held release has no pods": ({**DONE, "updatedReplicas": 0}, False),
    "a pod is not available": ({**DONE, "availableReplicas": 1}, False),
    "nothing is known": ({}, False),
}


@pytest.mark.parametrize(("status", "is_complete"), STATES.values(), ids=STATES)
def test_a_target_is_complete_or_not_when(status: Any, is_complete: bool) -> None:
    assert observation.is_complete(deployment(status=status)) is is_complete


def test_the_target_counts_its_pods_by_their_replica_sets() -> None:
    live = deployment(template("api:2"), paused=True)
    sets = [replica_set("old", 1, template()), replica_set("new", 2, template("api:2"))]
    by_set = {
        "old": [pod(), pod(phase="Failed")],
        "new": [pod(), pod(is_ready=False)],
        "stranger": [pod()],
    }
    facts = observation.target_facts(live, read_template(live, SPEC), sets, by_set)
    assert (facts.is_paused, facts.replicas, facts.ready) == (True, 2, 2)
    assert (facts.updated, facts.updated_ready) == (2, 1)
    assert not facts.is_restart


def test_a_restart_is_seen_before_the_controller_has_made_a_replica_set_for_it() -> None:
    marked = template(**{names.RESTARTED_AT: "2026"})
    old = replica_set("old", 9, template())
    older = replica_set("older", 10, template("api:0"))
    live = deployment(marked)
    reading = read_template(live, SPEC)
    assert observation.target_facts(live, reading, [old], {}).is_restart
    assert not observation.target_facts(live, reading, [old, older], {}).is_restart
    new = replica_set("new", 11, marked)
    assert not observation.target_facts(live, reading, [old, new], {}).is_restart
    assert not observation.target_facts(live, reading, [], {}).is_restart


def revisions(given: Any) -> tuple[str, str]:
    """As stated by the user, and as written by the operator."""
    stated, ours = (
        templates.revision_of(given, "api", "CACHE_VERSION", is_env_ours=is_ours)
        for is_ours in (False, True)
    )
    return stated, ours


def test_the_entry_of_an_old_replica_set_is_whose_the_snapshot_says() -> None:
    live = deployment(template("api:2"))
    reading = read_template(live, SPEC)
    old = replica_set("old", 1, template(version="v1"))
    stated, ours = revisions(template(version="v1"))

    def seen(*known: str) -> str:
        return observation.set_revision(old, live, reading, "CACHE_VERSION", frozenset(known))

    assert seen(stated) == stated
    assert seen(ours) == ours
    assert seen() == (ours if reading.is_env_ours else stated)


def test_an_unclear_template_stops_everything_but_a_deletion() -> None:
    two = template()
    two["spec"]["containers"].append({"name": "proxy"})
    live = deployment(two)
    with pytest.raises(SpecError, match="is missing: api, proxy"):
        read_template(live, SPEC)
    reading = read_template(live, SPEC, is_lenient=True)
    assert (reading.container, reading.version) == ("api", None)


REQUESTS = {
    "nothing": (None, None),
    "a verb": ("pause", Request("pause", None, "pause")),
    "a verb for a revision": ("promote/abc", Request("promote", "abc", "promote/abc")),
    "a verb that nobody knows": ("explode", Request("explode", None, "explode")),
    "a verb with stray space": (" abort/ ", Request("abort", None, " abort/ ")),
}


@pytest.mark.parametrize(("raw", "request_"), REQUESTS.values(), ids=REQUESTS)
def test_the_annotation_asks_for(raw: str | None, request_: Request | None) -> None:
    annotations = {} if raw is None else {names.ANNOTATION_REQUEST: raw}
    assert rollouts.request_of(rollout(annotations=annotations)) == request_


def test_a_selector_is_spelled_as_a_list_request_wants_it() -> None:
    selector = {
        "matchLabels": {"app": "api"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "zone", "operator": "NotIn", "values": ["c"]},
            {"key": "live", "operator": "Exists"},
            {"key": "dead", "operator": "DoesNotExist"},
        ],
    }
    found = owners.selector_of({"spec": {"selector": selector}})
    assert found == "app=api,tier in (a,b),zone notin (c),live,!dead"


def test_a_canary_belongs_to_its_rollout_and_outlasts_the_deadline() -> None:
    kept = Snapshot("abc", template(version="v1"), "api", True, [], None)
    made = manifest(rollout(), SPEC, kept, ApplyCanary("abc", "v2", attempt=4, replicas=3))
    assert made["metadata"]["name"] == "api-canary"
    assert made["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "cacherollout.io/v1alpha1",
            "kind": "CacheRollout",
            "name": "api",
            "uid": "r1",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    spec = made["spec"]
    assert spec["replicas"] == 3
    assert spec["progressDeadlineSeconds"] > 2 * SPEC.deadline
    assert spec["selector"] == {"matchLabels": {names.LABEL_CANARY: "api"}}
    labels = spec["template"]["metadata"]["labels"]
    assert labels == {"app": "api", names.LABEL_CANARY: "api", names.LABEL_ROLLOUT: "api"}


def test_what_client_side_apply_remembers_changes_in_the_template_alone() -> None:
    def applied(text: str | None) -> Any:
        annotations = {} if text is None else {lastapplied.ANNOTATION: text}
        return {"metadata": {"annotations": annotations}}

    remembered = applied('{"kind":"Deployment","spec":{"replicas":2,"template":{"a":1}}}')
    assert lastapplied.template_in(remembered) == {"a": 1}
    changed = lastapplied.with_template(remembered, {"b": 2})
    assert changed == '{"kind":"Deployment","spec":{"replicas":2,"template":{"b":2}}}\n'
    assert lastapplied.with_template(remembered, None) is None
    for unusable in (None, "", "{", "[]", '{"spec":null}', "{}"):
        assert lastapplied.template_in(applied(unusable)) is None
        assert lastapplied.with_template(applied(unusable), {"b": 2}) is None
