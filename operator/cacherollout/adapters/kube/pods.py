"""Pods as facts: whether they run, whether they take traffic, and what is wrong with them.

Pure. A pod belongs to a side by the UIDs of its owners, which the caller has looked up; its labels
say nothing here.
"""

from dataclasses import dataclass
from typing import Final

from cacherollout.adapters.kube import owners
from cacherollout.adapters.kube.resources import Manifest
from cacherollout.api import names
from cacherollout.core.facts import PodFacts

MAX_TROUBLE: Final = 200
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class Side:
    """What the pods of one ReplicaSet have in common."""

    is_canary: bool
    revision: str
    container: str
    """Container that carries the version."""
    env: str
    """Variable that carries it."""


def pod_facts(pod: Manifest, side: Side) -> PodFacts:
    """One pod of the target or of the canary."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    part = _container(pod, side)
    ports = part.get("ports") or []
    return PodFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        ip=status.get("podIP") or "",
        is_canary=side.is_canary,
        revision=side.revision,
        version=_value(part, side.env),
        is_ready=has_condition(pod, "Ready"),
        are_containers_ready=has_condition(pod, "ContainersReady"),
        is_admitted=has_condition(pod, names.READINESS_GATE),
        is_terminating=owners.is_terminating(pod),
        trouble=trouble_of(pod),
        metrics_port=int(ports[0]["containerPort"]) if ports else None,
    )


def is_over(pod: Manifest) -> bool:
    """Whether the pod has ended for good, as after an eviction; its ReplicaSet has replaced it."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def has_condition(pod: Manifest, kind: str) -> bool:
    """Whether the pod has the condition with status True."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def trouble_of(pod: Manifest) -> str:
    """Why the pod does not run, in one line; empty when nothing is wrong."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        return _line(status.get("reason") or "Failed", status.get("message"))
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _line(condition.get("reason") or "Unschedulable", condition.get("message"))
    for field in ("initContainerStatuses", "containerStatuses"):
        for part in status.get(field) or []:
            trouble = _container_trouble(part, is_judged=field == "containerStatuses")
            if trouble:
                return trouble
    return ""


def _container_trouble(part: Manifest, *, is_judged: bool) -> str:
    """`is_judged`: its readiness is part of the pod's; an init container is never ready."""
    state, name = part.get("state") or {}, part["name"]
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting is not None and waiting.get("reason") not in (None, *_STARTING):
        last = (part.get("lastState") or {}).get("terminated")
        how = f"{name} ended with {_ending(last)}" if last else f"{name}: {waiting.get('message')}"
        return _line(waiting["reason"], how)
    if ended is not None and ended.get("exitCode"):
        return _line(ended.get("reason") or "Error", f"{name} ended with {_ending(ended)}")
    if is_judged and state.get("running") is not None and part.get("ready") is False:
        return _line("NotReady", f"{name} runs but its readiness probe does not pass")
    return ""


def _ending(ended: Manifest) -> str:
    message = f": {ended['message']}" if ended.get("message") else ""
    return f"exit code {ended.get('exitCode')} ({ended.get('reason') or 'Error'}){message}"


def _line(reason: str, message: str | None) -> str:
    text = f"{reason}: {message}" if message else reason
    return " ".join(text.split())[:MAX_TROUBLE]


def _container(pod: Manifest, side: Side) -> Manifest:
    """The container of the version; a pod from before a renaming has it under another name."""
    parts: list[Manifest] = pod["spec"].get("containers") or []
    named = [part for part in parts if part["name"] == side.container]
    having = [part for part in parts if _value(part, side.env)]
    found = named or having or parts
    return found[0] if len(found) == 1 else {}


def _value(part: Manifest, env: str) -> str:
    entries: list[Manifest] = part.get("env") or []
    return next((str(each.get("value") or "") for each in entries if each["name"] == env), "")
