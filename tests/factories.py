"""Facts, ledgers and specs in which a test states only what matters to it.

The usual scene: release `rev-b` as v2 is on trial against the stable `rev-a` as v1, at NOW.
"""

from dataclasses import replace
from typing import Any

from cacherollout.api.ledger import Attempt, CountedPod, Counters, Ledger, Release, Traffic
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.facts import (
    CacheFacts,
    CanaryFacts,
    Measurement,
    Observed,
    PodFacts,
    PodMeasurement,
    TargetFacts,
)

NOW = 1_000_000.0
FAMILY: dict[str, Any] = {"name": "user", "key": "user:{version}:{id}"}
REPLAYED: dict[str, Any] = {
    "name": "list",
    "key": "list:{version}:{id}",
    "warm": "Replay",
    "replayPath": "/lists/{id}",
}


def spec(*families: dict[str, Any], version: str = "Auto", **parts: Any) -> CacheRolloutSpec:
    """A valid spec, with the families given or one that is copied."""
    return CacheRolloutSpec.model_validate(
        {
            "targetRef": {"name": "api"},
            "cache": {
                "backendRef": {"name": "main"},
                "version": version,
                "families": list(families or (FAMILY,)),
            },
            **parts,
        }
    )


SPEC = spec()
STABLE = Release("rev-a", "v1", fingerprints=SPEC.fingerprints())
RELEASE = Release("rev-b", "v2", entry="v2", fingerprints=SPEC.fingerprints())


def attempt(**changes: Any) -> Attempt:
    """The first attempt, begun now."""
    return replace(Attempt(1, RELEASE, started_at=NOW), **changes)


def on_trial(**changes: Any) -> Attempt:
    """An attempt that has taken traffic for a minute, with a known baseline."""
    return attempt(
        started_at=NOW - 90,
        **{
            "warmed_at": NOW - 60,
            "traffic_since": NOW - 60,
            "admitted": 1,
            "admitted_at": NOW - 60,
            "baseline_origin": 100.0,
            "baseline_ticks": 5,
            "data_since": NOW,
            **changes,
        },
    )


def ledger(**changes: Any) -> Ledger:
    """Adopted, at rest."""
    return replace(Ledger(target_uid="uid-target", stable=STABLE, versions=("v1",)), **changes)


def target(**changes: Any) -> TargetFacts:
    """The target: held, complete, on the stable template."""
    facts = TargetFacts(
        uid="uid-target",
        resource_version="7",
        revision="rev-a",
        is_paused=True,
        replicas=4,
        ready=4,
        is_complete=True,
        stated_version=None,
        running_version=None,
        container="api",
        updated=4,
        updated_ready=4,
    )
    return replace(facts, **changes)


def pod(name: str = "api-1", **changes: Any) -> PodFacts:
    """A ready pod of the stable release."""
    facts = PodFacts(
        name=name,
        uid=f"uid-{name}",
        ip="10.0.0.1",
        is_canary=False,
        revision="rev-a",
        version="",
        is_ready=True,
        are_containers_ready=True,
        is_admitted=False,
    )
    return replace(facts, **changes)


def canary_pod(name: str = "canary-1", **changes: Any) -> PodFacts:
    """A ready and admitted pod of the canary."""
    return pod(
        name,
        **{"is_canary": True, "revision": "rev-b", "version": "v2", "is_admitted": True, **changes},
    )


def canary(**changes: Any) -> CanaryFacts:
    """Our canary with one replica."""
    facts = CanaryFacts("uid-canary", True, 1, "rev-b", "v2", 1)
    return replace(facts, **changes)


def observed(**changes: Any) -> Observed:
    """Four stable pods, nothing else."""
    facts = Observed(
        uid="uid-rollout",
        name="api",
        generation=1,
        has_finalizer=True,
        target=target(),
        pods=tuple(pod(f"api-{number}") for number in range(1, 5)),
        snapshots=frozenset({"rev-a"}),
    )
    return replace(facts, **changes)


def trial(**changes: Any) -> Observed:
    """The scene of an attempt: the new template is held, the canary runs."""
    return observed(
        **{
            "target": target(revision="rev-b", is_complete=False, updated=0, updated_ready=0),
            "canary": canary(),
            "pods": (*observed().pods, canary_pod()),
            "snapshots": frozenset({"rev-a", "rev-b"}),
            "cache": CacheFacts(),
            **changes,
        }
    )


def counters(**changes: float) -> Counters:
    """Counters of a healthy second of a pod with a hundred requests."""
    healthy: dict[str, float] = {
        "lookups": 200,
        "misses": 10,
        "operations": 200,
        "timed": 200,
        "slow": 1,
        "requests": 100,
        "origin": 10,
    }
    return Counters(**{**healthy, **changes})


def measurement(at: float, **pods: Counters) -> Measurement:
    """A scrape; pods by the end of their UID, with `_` for `-`."""
    return Measurement(
        at,
        tuple(
            PodMeasurement(f"uid-{name.replace('_', '-')}", counted)
            for name, counted in pods.items()
        ),
    )


def counted(**pods: Counters) -> tuple[CountedPod, ...]:
    """Counters that have entered the evidence."""
    return tuple(CountedPod(f"uid-{name.replace('_', '-')}", known) for name, known in pods.items())


def traffic(**changes: float) -> Traffic:
    """Rates of a healthy side with a thousand requests a second."""
    healthy: dict[str, float] = {
        "lookups": 2000,
        "misses": 100,
        "requests": 1000,
        "operations": 2000,
        "timed": 2000,
        "origin": 100,
    }
    return Traffic(**{**healthy, **changes})
