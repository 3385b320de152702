"""The ports as small in-memory worlds, and a core that decides what a test wants."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from cacherollout.api.ledger import Ledger, dump_ledger
from cacherollout.api.names import Key
from cacherollout.api.reasons import Phase, Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import Action, Work
from cacherollout.core.decisions import Decision, Say
from cacherollout.core.facts import CacheFacts, Measurement, Observed, PodFacts
from cacherollout.ports.errors import ConflictError
from cacherollout.ports.workloads import RolloutObject
from cacherollout.shell.reconciler import Reconciler, World

KEY = Key("shop", "api")
SPEC: dict[str, Any] = {
    "targetRef": {"name": "api"},
    "cache": {
        "backendRef": {"name": "main"},
        "families": [{"name": "user", "key": "user:{version}:{id}"}],
    },
}


def rollout(key: Key = KEY, **changes: Any) -> RolloutObject:
    stored = RolloutObject(
        key=key,
        uid=f"uid-of-{key.name}",
        generation=1,
        resource_version="1",
        is_deleting=False,
        has_finalizer=False,
        spec=SPEC,
        status={},
        annotations={},
    )
    return dataclasses.replace(stored, **changes)


class FakeWorld:
    """A cluster, a cache and a recorder in one; `journal` is the order in which things happened."""

    def __init__(self, *stored: RolloutObject) -> None:
        self.stored = {each.key: each for each in stored or (rollout(),)}
        self.journal: list[str] = []
        self.says: list[Say] = []
        self.ran: list[tuple[Work, ...]] = []
        self.forgotten: list[Key] = []
        self.writes = 0
        self.observe_errors: list[Exception] = []
        self.apply_errors: list[Exception] = []
        self.before_write: Callable[[], None] = lambda: None

    def edit(self, key: Key = KEY, **changes: Any) -> None:
        old = self.stored[key]
        version = str(int(old.resource_version) + 1)
        self.stored[key] = dataclasses.replace(old, resource_version=version, **changes)

    async def read(self, key: Key) -> RolloutObject | None:
        await asyncio.sleep(0)
        return self.stored.get(key)

    async def observe(self, seen: RolloutObject, spec: CacheRolloutSpec) -> Observed:
        self.journal.append("observe")
        if self.observe_errors:
            raise self.observe_errors.pop(0)
        return Observed(uid=seen.uid, name=seen.key.name, generation=seen.generation)

    async def apply(self, seen: RolloutObject, spec: CacheRolloutSpec, action: Action) -> None:
        self.journal.append(f"apply {type(action).__name__}")
        if self.apply_errors:
            raise self.apply_errors.pop(0)

    async def write_status(self, seen: RolloutObject, status: dict[str, Any]) -> RolloutObject:
        self.before_write()
        stored = self.stored[seen.key]
        if stored.resource_version != seen.resource_version:
            raise ConflictError("the object has been modified")
        self.writes += 1
        self.journal.append("write status")
        self.edit(seen.key, status=status)
        return self.stored[seen.key]

    async def say(self, seen: RolloutObject, said: Say) -> None:
        self.journal.append(f"say {said.reason}")
        self.says.append(said)


class FakeCaches:
    def __init__(self, world: FakeWorld) -> None:
        self._world = world
        self.looks = 0

    async def observe(self, key: Key, spec: CacheRolloutSpec) -> CacheFacts:
        self.looks += 1
        return CacheFacts()

    async def run(
        self,
        key: Key,
        spec: CacheRolloutSpec,
        works: tuple[Work, ...],
        pods: tuple[PodFacts, ...],
    ) -> None:
        self._world.journal.append("run works")
        self._world.ran.append(works)

    async def forget(self, key: Key) -> None:
        self._world.forgotten.append(key)


class FakeMetrics:
    def __init__(self) -> None:
        self.scrapes = 0
        self.forgotten: list[Key] = []

    async def measure(
        self, key: Key, spec: CacheRolloutSpec, pods: tuple[PodFacts, ...]
    ) -> Measurement | None:
        self.scrapes += 1
        return None

    def forget(self, key: Key) -> None:
        self.forgotten.append(key)


class FakeWatcher:
    def __init__(self) -> None:
        self.results: list[str] = []
        self.shown: dict[Key, Phase] = {}

    def passed(self, result: str, seconds: float) -> None:
        self.results.append(result)

    def show(self, key: Key, phase: Phase, ledger: Ledger, now: float) -> None:
        self.shown[key] = phase

    def forget(self, key: Key) -> None:
        self.shown.pop(key, None)


Rule = Callable[[Ledger, Observed], Decision]


def decision(ledger: Ledger, *actions: Action, **more: Any) -> Decision:
    said: dict[str, Any] = {
        "phase": Phase.IDLE,
        "reason": Reason.UP_TO_DATE,
        "message": "v2 is stable and held.",
        **more,
    }
    return Decision(ledger=ledger, actions=actions, **said)


class Bench:
    """A reconciler over a fake world, with a core given as a function."""

    def __init__(self, rule: Rule, world: FakeWorld | None = None) -> None:
        self.world = world or FakeWorld()
        self.caches = FakeCaches(self.world)
        self.metrics = FakeMetrics()
        self.watcher = FakeWatcher()
        self.now = 1_000.0
        self.is_leading = True
        self.rule = rule
        self.decided: list[CacheRolloutSpec] = []
        self.reconciler = Reconciler(
            World(self.world, self.caches, self.metrics, self.world, lambda: self.is_leading),
            decide=self._decide,
            report=_report,
            clock=lambda: self.now,
            watcher=self.watcher,
        )

    def _decide(
        self, spec: CacheRolloutSpec, ledger: Ledger, observed: Observed, now: float
    ) -> Decision:
        self.decided.append(spec)
        return self.rule(ledger, observed)

    @property
    def status(self) -> dict[str, Any]:
        return self.world.stored[KEY].status

    def condition(self, kind: str) -> dict[str, Any]:
        return next(each for each in self.status["conditions"] if each["type"] == kind)


def _report(
    spec: CacheRolloutSpec,
    decided: Decision,
    observed: Observed,
    previous_status: Mapping[str, Any],
    now: float,
    generation: int,
) -> dict[str, Any]:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": decided.reason.value,
        "message": decided.message,
        "lastTransitionTime": "1970-01-01T00:16:40Z",
        "observedGeneration": generation,
    }
    return {
        "phase": decided.phase.value,
        "message": decided.message,
        "observedGeneration": generation,
        "conditions": [ready],
        "ledger": dump_ledger(decided.ledger),
    }
