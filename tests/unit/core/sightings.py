"""What a check sees where everything is in order, and ways to spoil one part of it."""

from dataclasses import replace
from typing import Any

from cacherollout.api.ledger import Counters, Ledger, Release
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.checklist import check
from cacherollout.core.facts import (
    Measurement,
    Observed,
    PodFacts,
    PodMeasurement,
    Problem,
    TargetFacts,
)
from cacherollout.core.readiness import CacheStock, FamilyStock, Item, Outcome, Seen

MIB = 1 << 20
USER = {"name": "user", "key": "user:{version}:{id}", "required": ["id"]}
ORDERS = {"name": "orders", "key": "order:{version}:list:{id}"}


def a_spec(
    version: str = "Auto",
    families: list[dict[str, Any]] | None = None,
    versions_key: str | None = "app:versions",
    **more: Any,
) -> CacheRolloutSpec:
    return CacheRolloutSpec.model_validate(
        {
            "targetRef": {"name": "api"},
            "cache": {
                "backendRef": {"name": "main"},
                "version": version,
                "families": families or [USER, ORDERS],
                **({"versionsKey": versions_key} if versions_key else {}),
            },
            **more,
        }
    )


STABLE = Release("r1", "v2", fingerprints=a_spec().fingerprints())
TARGET = TargetFacts(
    uid="t",
    resource_version="1",
    revision="r1",
    is_paused=True,
    replicas=6,
    ready=6,
    is_complete=True,
    stated_version=None,
    running_version="v2",
    container="api",
    is_owned=True,
)
PODS = tuple(
    PodFacts(
        name=f"api-{number}",
        uid=f"p{number}",
        ip=f"10.0.0.{number}",
        is_canary=False,
        revision="r1",
        version="v2",
        is_ready=True,
        are_containers_ready=True,
        is_admitted=True,
    )
    for number in range(6)
)
OBSERVED = Observed(uid="u", name="api", generation=1, target=TARGET, pods=PODS)
FAMILIES = (
    FamilyStock("user", 1_000, 2 * MIB, 0, 299.0, 200, 0),
    FamilyStock("orders", 500, MIB, 0, 298.0, 200, 0),
)
STOCK = CacheStock(FAMILIES, 10 * MIB, 100 * MIB, 70 * MIB, "allkeys-lfu")


def measured(
    *, seconds: float = 5.0, foreign: float = 0.0, problem: Problem | None = None, **rates: float
) -> tuple[Measurement, Measurement]:
    """Two measurements of all pods; rates are of all pods together, per second."""
    rates = {
        "lookups": 600,
        "misses": 30,
        "operations": 600,
        "timed": 600,
        "requests": 300,
        "origin": 30,
        **rates,
    }

    def at(moment: float) -> Measurement:
        counters = Counters(
            **{name: rate / len(PODS) * (moment + 100) for name, rate in rates.items()}
        )
        pods = tuple(PodMeasurement(pod.uid, counters, foreign / len(PODS)) for pod in PODS)
        return Measurement(1_000 + moment, pods, problem)

    return at(0), at(seconds)


def seen(**parts: Any) -> Seen:
    """Everything in order, with parts replaced."""
    whole: dict[str, Any] = {
        "spec": a_spec(),
        "ledger": Ledger(target_uid="t", stable=STABLE, versions=("v1", "v2")),
        "is_acted_upon": True,
        "stall": "",
        "observed": OBSERVED,
        "prefixes": ("user:", "order:", "app:"),
        "cache": STOCK,
        "measurements": measured(),
    }
    return Seen(**{**whole, **parts})


def with_target(**changes: Any) -> Seen:
    return seen(observed=replace(OBSERVED, target=replace(TARGET, **changes)))


def with_ledger(**changes: Any) -> Seen:
    return seen(ledger=replace(seen().ledger, **changes))


def with_user(**changes: Any) -> CacheStock:
    return replace(STOCK, families=(replace(FAMILIES[0], **changes), FAMILIES[1]))


def item(name: str, what: Seen) -> Item:
    return next(each for each in check(what).items if each.name == name)


CHANGED = [{**USER, "schemaVersion": "2"}, ORDERS]
REPLAYED = [{**USER, "warm": "Replay", "replayPath": "/users/{id}"}, ORDERS]
OK, WARNING, FAILED, UNSEEN = Outcome
