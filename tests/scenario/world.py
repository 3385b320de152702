"""The world at our ports, in memory, with a clock of its own; and the real loop that runs over it.

Virtual time: nothing sleeps. The operator is woken as the real one is, by changes and by its own
requeues, and may be killed, contradicted or failed at any effect that it has on the world.
"""

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cacherollout.api.ledger import Ledger, load_ledger
from cacherollout.api.names import Key
from cacherollout.api.reasons import Phase, Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import (
    Action,
    AddFinalizer,
    ApplyCanary,
    ApplyTarget,
    ConsumeRequest,
    DeleteCanary,
    DropSnapshots,
    FreeTarget,
    KeepSnapshot,
    RemoveFinalizer,
    RestoreTarget,
    SetAdmission,
)
from cacherollout.core.decisions import Say
from cacherollout.core.facts import (
    Observed,
    Problem,
    Request,
)
from cacherollout.ports.errors import ConflictError, DependencyError
from cacherollout.ports.workloads import RolloutObject
from tests.scenario.caching import Cache, Namespace
from tests.scenario.clusters import Canary, Cluster, Deployment, Template
from tests.scenario.oracles import Oracle

KEY = Key("shop", "api")
RESTING = (Phase.IDLE, Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.PENDING)
SPEC: dict[str, Any] = {
    "targetRef": {"name": "api"},
    "cache": {
        "backendRef": {"name": "main"},
        "families": [{"name": "user", "key": "user:{version}:{id}"}],
    },
    "canary": {"replicas": 1, "maxReplicas": "50%"},
    "metrics": {"interval": "5s"},
    "soak": "20s",
    "deadline": "2m",
    "rollbackWindow": "30s",
}


class KilledError(BaseException):
    """The operator's process ends here."""


class ImpossibleError(BaseException):
    """Something was asked of the world that must never be asked; nothing swallows it."""


@dataclasses.dataclass(slots=True)
class Stored:
    """A CacheRollout as the API server has it."""

    key: Key
    uid: str
    spec: dict[str, Any]
    status: dict[str, Any] = dataclasses.field(default_factory=dict)
    annotations: dict[str, str] = dataclasses.field(default_factory=dict)
    generation: int = 1
    version: int = 1
    has_finalizer: bool = False
    is_deleting: bool = False


Fault = str
"""`kill before`, `kill after`, `conflict` or `error`, at an effect of the operator."""


class World(Cluster):
    """Everything outside the operator. Effects of the operator are numbered from 1."""

    def __init__(self, image: str = "a", replicas: int = 4, **spec: Any) -> None:
        super().__init__(image, replicas)
        self.cache = Cache({"v1": Namespace(1.0, self.now)})
        self.stored: dict[Key, Stored] = {}
        self.snapshots: dict[str, tuple[Template, str | None]] = {}
        self.says: list[Say] = []
        self.effects: list[str] = []
        self.notable: list[int] = []
        """Effects that are not like the one before: what is done, and what is decided."""
        self.faults: dict[int, Fault] = {}
        self.rps = 1000.0
        self.has_backend = True
        self.has_metrics = True
        self.oracle = Oracle(self)
        self._read: tuple[dict[str, Any], Ledger] = ({}, Ledger())
        self.create(**spec)

    # --- what people do -------------------------------------------------------------------------

    def create(self, key: Key = KEY, **spec: Any) -> None:
        body = copy.deepcopy(SPEC) | spec
        self.stored[key] = Stored(key, f"uid-of-{key.name}-{len(self.says)}", body)
        self.changed = True

    @property
    def rollout(self) -> Stored:
        return self.stored[KEY]

    @property
    def status(self) -> dict[str, Any]:
        return self.rollout.status

    @property
    def ledger(self) -> Ledger:
        status = self.status if KEY in self.stored else {}
        if status is not self._read[0]:
            self._read = (status, load_ledger(status.get("ledger")))
        return self._read[1]

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def reason(self) -> str:
        return self.condition("Ready")["reason"]

    @property
    def deployment(self) -> Deployment:
        assert self.target is not None
        return self.target

    def condition(self, kind: str) -> dict[str, Any]:
        found = [each for each in self.status.get("conditions", []) if each["type"] == kind]
        return found[0] if found else {"reason": "", "status": ""}

    def said(self, reason: Reason) -> list[str]:
        return [said.message for said in self.says if said.reason is reason]

    def edit_spec(self, **changes: Any) -> None:
        """Change parts of the spec; `cache` is merged."""
        cache = self.rollout.spec["cache"] | changes.pop("cache", {})
        self.rollout.spec = {**self.rollout.spec, **changes, "cache": cache}
        self.rollout.generation += 1
        self.rollout.version += 1
        self.changed = True

    def deploy(self, image: str, stated: str | None = None) -> None:
        """The user applies a template."""
        self.deployment.template = Template(image, stated, self.deployment.template.restarted)
        self.touch()

    def restart(self) -> None:
        """`kubectl rollout restart`."""
        template = self.deployment.template
        self.deployment.template = dataclasses.replace(template, restarted=template.restarted + 1)
        self.touch()

    def lift_hold(self) -> None:
        self.deployment.is_paused = False
        self.touch()

    def scale(self, replicas: int) -> None:
        self.deployment.replicas = replicas
        self.oracle.disturb()
        self.touch()

    def kill_pod(self, *, is_canary: bool = False) -> None:
        pods = [pod for pod in self.pods if pod.is_canary is is_canary and pod.is_alive]
        if pods:
            self.end(pods[0])
            self.oracle.disturb()
            self.changed = True

    def ask(self, verb: str) -> None:
        self.rollout.annotations = {"cacherollout.io/request": verb}
        self.rollout.version += 1
        self.changed = True

    def delete(self) -> None:
        self.rollout.is_deleting = True
        self.rollout.version += 1
        self._gone(self.rollout)
        self.changed = True

    def delete_target(self) -> None:
        self.target = None
        self.oracle.disturb()
        self.changed = True

    def replace_target(self, image: str) -> None:
        self.delete_target()
        self.target = Deployment(f"uid-target-{next(self.names)}", Template(image), 4)

    # --- ports ----------------------------------------------------------------------------------

    async def read(self, key: Key) -> RolloutObject | None:
        stored = self.stored.get(key)
        if stored is None:
            return None
        return RolloutObject(
            key=key,
            uid=stored.uid,
            generation=stored.generation,
            resource_version=str(stored.version),
            is_deleting=stored.is_deleting,
            has_finalizer=stored.has_finalizer,
            spec=stored.spec,
            status=stored.status,
            annotations=stored.annotations,
        )

    async def observe(self, rollout: RolloutObject, spec: CacheRolloutSpec) -> Observed:
        stored = self.stored.get(rollout.key)
        if stored is None:
            raise ConflictError("gone")
        raw = rollout.annotations.get("cacherollout.io/request", "")
        verb, _, revision = raw.partition("/")
        return Observed(
            uid=rollout.uid,
            name=rollout.key.name,
            generation=rollout.generation,
            is_deleting=rollout.is_deleting,
            has_finalizer=stored.has_finalizer,
            request=Request(verb, revision or None, raw) if raw else None,
            problem=self._problem(rollout),
            target=self.target_facts(),
            canary=self.canary_facts(rollout.uid),
            pods=self.pod_facts(),
            snapshots=frozenset(self.snapshots),
        )

    def _problem(self, rollout: RolloutObject) -> Problem | None:
        older = next(iter(self.stored))
        if rollout.key != older:
            return Problem(Reason.TARGET_CONFLICT, f"CacheRollout {older.name} holds it already.")
        if not self.has_backend:
            return Problem(Reason.BACKEND_MISSING, "There is no CacheBackend main.")
        return None

    @contextmanager
    def effect(self, name: str, *, is_notable: bool = True) -> Iterator[None]:
        self.effects.append(name)
        if is_notable:
            self.notable.append(len(self.effects))
        fault = self.faults.get(len(self.effects))
        match fault:
            case "kill before":
                raise KilledError
            case "conflict":
                raise ConflictError("somebody wrote first")
            case "error":
                raise DependencyError(Reason.API_UNAVAILABLE, "the API server is away")
        yield
        self.changed = True
        if fault == "kill after":
            raise KilledError

    async def write_status(self, rollout: RolloutObject, status: dict[str, Any]) -> RolloutObject:
        stored = self.stored.get(rollout.key)
        if stored is None or str(stored.version) != rollout.resource_version:
            raise ConflictError("the object has been modified")
        changed = self.changed
        with self.effect("status", is_notable=_gist(status) != _gist(stored.status)):
            stored.status = status
            stored.version += 1
        self.changed = changed
        found = await self.read(rollout.key)
        assert found is not None
        return found

    async def apply(self, rollout: RolloutObject, spec: CacheRolloutSpec, action: Action) -> None:
        with self.effect(type(action).__name__):
            self._carry_out(rollout, action)

    def _carry_out(self, rollout: RolloutObject, action: Action) -> None:
        stored = self.stored.get(rollout.key)
        if stored is None:
            raise ConflictError("gone")
        match action:
            case AddFinalizer():
                stored.has_finalizer = True
            case RemoveFinalizer():
                stored.has_finalizer = False
                self._gone(stored)
            case ConsumeRequest(raw):
                if stored.annotations.get("cacherollout.io/request") == raw:
                    stored.annotations = {}
                    stored.version += 1
            case KeepSnapshot(revision):
                target = self._target()
                if revision not in self.snapshots:
                    if target.template.revision != revision:
                        raise ConflictError("the template is another one now")
                    self.snapshots[revision] = (target.template, target.entry)
            case DropSnapshots(kept):
                self.snapshots = {name: it for name, it in self.snapshots.items() if name in kept}
            case ApplyTarget() | RestoreTarget() | FreeTarget():
                self._write_target(action)
            case ApplyCanary() | DeleteCanary() | SetAdmission():
                self._write_canary(rollout, action)
            case _:
                raise ImpossibleError(f"not for this port: {action}")

    def _write_target(self, action: ApplyTarget | RestoreTarget | FreeTarget) -> None:
        match action:
            case ApplyTarget():
                self._hold(action)
            case RestoreTarget():
                self._restore(action)
            case FreeTarget(version):
                target = self._target(version)
                target.is_paused, target.is_owned = False, False
                self.touch()

    def _write_canary(
        self, rollout: RolloutObject, action: ApplyCanary | DeleteCanary | SetAdmission
    ) -> None:
        match action:
            case ApplyCanary():
                self._apply_canary(rollout, action)
            case DeleteCanary(uid):
                if self.canary is not None and self.canary.uid == uid:
                    self.end_canary()
            case SetAdmission(opened, closed):
                for pod in self.pods:
                    if pod.name in opened:
                        self.oracle.admit(pod)
                        pod.is_admitted = True
                    if pod.name in closed:
                        pod.is_admitted = False

    def _target(self, version: str | None = None) -> Deployment:
        if self.target is None:
            raise ConflictError("the target is gone")
        if version is not None and version != str(self.target.generation):
            raise ConflictError("the target has been modified")
        return self.target

    def _hold(self, action: ApplyTarget) -> None:
        target = self._target(action.resource_version)
        before = (target.is_paused, target.entry)
        if action.entry is not None:
            if target.template.stated is not None:
                raise ImpossibleError("the operator overwrites the version that the user states")
            target.entry = action.entry
        target.is_paused, target.is_owned = action.is_paused, True
        if before != (target.is_paused, target.entry):
            self.touch()

    def _restore(self, action: RestoreTarget) -> None:
        target = self._target(action.resource_version)
        kept = self.snapshots.get(action.revision) or self._recover(target, action.revision)
        if kept is None:
            raise DependencyError(Reason.INTERNAL_ERROR, "that template is kept nowhere")
        template, entry = kept
        if action.entry is not None and template.stated is not None:
            raise ImpossibleError("the operator overwrites the version that the user states")
        del entry
        target.template, target.entry = template, action.entry
        target.is_paused, target.is_owned = action.is_paused, True
        self.touch()

    @staticmethod
    def _recover(target: Deployment, revision: str) -> tuple[Template, str | None] | None:
        """A lost snapshot is found again in a ReplicaSet that still has pods."""
        for each in target.sets:
            if each.template.revision == revision:
                return each.template, each.entry
        return None

    def _apply_canary(self, rollout: RolloutObject, action: ApplyCanary) -> None:
        if self.canary is None:
            kept = self.snapshots.get(action.revision)
            if kept is None:
                raise ConflictError("the template is not kept")
            if any(pod.is_canary and pod.is_alive for pod in self.pods):
                raise ImpossibleError("two canaries at a time")
            uid = f"uid-canary-{next(self.names)}"
            self.canary = Canary(
                uid, rollout.uid, action.attempt, kept[0], action.version, action.replicas
            )
            return
        if self.canary.owner != rollout.uid:
            raise DependencyError(Reason.NAME_CONFLICT, "the canary is somebody else's")
        if self.canary.attempt != action.attempt:
            raise ConflictError("the canary is of another attempt")
        self.canary.replicas = action.replicas

    def _gone(self, stored: Stored) -> None:
        if stored.is_deleting and not stored.has_finalizer:
            del self.stored[stored.key]
            if self.canary is not None and self.canary.owner == stored.uid:
                self.end_canary()

    async def say(self, rollout: RolloutObject, said: Say) -> None:
        self.says.append(said)


_COUNTED = ("evidence", "counted", "measuredAt", "dataSince", "stableTraffic", "canaryTraffic")


def _gist(status: dict[str, Any]) -> dict[str, Any]:
    """What was decided, without what was counted."""
    ledger = dict(status.get("ledger", {}))
    attempt = dict(ledger.get("attempt", {}))
    ledger["attempt"] = {name: it for name, it in attempt.items() if name not in _COUNTED}
    return {"phase": status.get("phase"), "ledger": ledger}
