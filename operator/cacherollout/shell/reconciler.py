"""One pass over one rollout: observe, decide, persist, apply, report — in this order, once.

The order is the safety: a decision is stored before anything that follows from it is done, so that
an operator that dies between any two steps finds in the ledger what it had decided. Holds no
policy: what shall happen is decided by the core, from what is observed here.
"""

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cacherollout.api.ledger import Ledger, load_ledger
from cacherollout.api.names import Key
from cacherollout.api.reasons import Phase
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import Action, RetireWork, RunWorks
from cacherollout.core.decide import needs_measurement
from cacherollout.core.decisions import Decision, Say
from cacherollout.core.facts import Observed
from cacherollout.ports.cache import Caches
from cacherollout.ports.errors import ConflictError, InvariantError, SpecError
from cacherollout.ports.metrics import Metrics as PodMetrics
from cacherollout.ports.recorder import Recorder
from cacherollout.ports.workloads import RolloutObject, Workloads
from cacherollout.shell import specs
from cacherollout.shell.clock import Clock
from cacherollout.shell.conditions import ready_reason, with_failure
from cacherollout.shell.errors import Blame, Failure, classify
from cacherollout.shell.queues import Outcome

log = logging.getLogger(__name__)

RESYNC_SECONDS = 60.0
"""Longest time between two looks at a rollout: heals every event that was missed."""
CONFLICTS_AT_ONCE = 3
"""Lost races in a row that are tried again at once; more wait like failures."""
SAID_AFTER_FAILURES = 2
"""A dependency that failed once may be fine a second later; failing twice is a state."""
_PASSING = (Blame.WORLD, Blame.UNKNOWN)
"""Faults that may strike after the status was written: it goes on saying so until a pass is whole."""


class Watcher(Protocol):
    """Is told how passes end, for the metrics."""

    def passed(self, result: str, seconds: float) -> None:
        """A pass ended."""
        ...

    def show(self, key: Key, phase: Phase, ledger: Ledger, now: float) -> None:
        """A rollout stands here now."""
        ...

    def forget(self, key: Key) -> None:
        """A rollout is gone."""
        ...


Decide = Callable[[CacheRolloutSpec, Ledger, Observed, float], Decision]
"""The core: what follows from what is known at a moment; see core.decide."""
Report = Callable[
    [CacheRolloutSpec, Decision, Observed, Mapping[str, Any], float, int], dict[str, Any]
]
"""The whole status that says a decision, from the previous one, the moment and the generation."""


@dataclass(frozen=True, slots=True)
class World:
    """The ports, and whether this process may still act on them."""

    workloads: Workloads
    caches: Caches
    metrics: PodMetrics
    recorder: Recorder
    may_act: Callable[[], bool]
    """False from the moment at which the lease may be somebody else's."""


@dataclass(slots=True)
class _Trouble:
    """What is remembered of a rollout whose passes fail; gone after the first good one."""

    failures: int = 0
    conflicts: int = 0
    told: Failure | None = None
    """What the conditions say; stays there until a whole pass went well."""
    quarantined: tuple[object, ...] | None = None
    """What the rollout looked like when a rule was broken; it is left alone until that changes."""


class LeaseLostError(Exception):
    """The lease may be somebody else's by now; not a fault of any rollout."""


class Reconciler:
    """Makes passes; keeps nothing of a rollout that another process would miss."""

    def __init__(
        self,
        world: World,
        *,
        decide: Decide,
        report: Report,
        clock: Clock,
        watcher: Watcher,
        rng: random.Random | None = None,
    ) -> None:
        self._world = world
        self._decide = decide
        self._report = report
        self._clock = clock
        self._watcher = watcher
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._troubles: dict[Key, _Trouble] = {}
        self._valid: dict[Key, tuple[str, CacheRolloutSpec]] = {}
        """Last readable spec by UID, so that a deletion does not depend on a later bad one."""

    async def reconcile(self, key: Key) -> Outcome:
        """One pass; whatever goes wrong in it concerns this rollout alone."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome = Outcome("timeout")
        try:
            outcome = await self._guarded(key)
        finally:
            self._watcher.passed(outcome.result, loop.time() - began)
        return outcome

    async def _guarded(self, key: Key) -> Outcome:
        rollout: RolloutObject | None = None
        try:
            rollout = await self._world.workloads.read(key)
            if rollout is None:
                await self._forget(key)
                return Outcome("gone")
            if self._is_quarantined(rollout):
                return Outcome("quarantined")
            return await self._pass(rollout)
        except LeaseLostError:
            return Outcome("not_leading")
        except Exception as error:  # noqa: BLE001 - sorted right here, by the one classification
            return await self._failed(key, rollout, error)

    async def _pass(self, rollout: RolloutObject) -> Outcome:
        spec = self._spec_of(rollout)
        ledger = _ledger_of(rollout)
        observed, decision = await self._look(rollout, spec, ledger)
        now = self._clock()
        before = rollout.status
        status = self._report(spec, decision, observed, before, now, rollout.generation)
        trouble = self._troubles.get(rollout.key)
        told = trouble.told if trouble and trouble.told else None
        if told and told.blame in _PASSING:
            status = with_failure(status, told, before, generation=rollout.generation, now=now)
        if status != before:
            self._ensure_leading()
            rollout = await self._world.workloads.write_status(rollout, status)
        # What is remembered will not be decided again, and is said even where carrying it out must
        # be tried again. What is not will be decided, and said, when it is.
        is_said = decision.ledger != ledger
        done: list[str] = []
        try:
            await self._apply(rollout, spec, decision, observed, done)
            is_said = True
        finally:
            _log_change(rollout.key, before, status, decision, done)
            for said in decision.says if is_said else ():
                await self._world.recorder.say(rollout, said)
        self._watcher.show(rollout.key, decision.phase, decision.ledger, now)
        self._troubles.pop(rollout.key, None)
        # A failure that was told and is over is taken out of the conditions right away.
        return Outcome("ok", 0.0 if told else self._next_look(decision))

    async def _look(
        self, rollout: RolloutObject, spec: CacheRolloutSpec, ledger: Ledger
    ) -> tuple[Observed, Decision]:
        """Observe as much as the decision needs, and decide."""
        observed = await self._world.workloads.observe(rollout, spec)
        if needs_measurement(ledger):
            pods = tuple(pod for pod in observed.pods if not pod.is_terminating)
            measurement = await self._world.metrics.measure(rollout.key, spec, pods)
            observed = dataclasses.replace(observed, measurement=measurement)
        is_cache_seen = has_cache_business(ledger)
        if is_cache_seen:
            observed = await self._with_cache(rollout, spec, observed)
        decision = self._decide(spec, ledger, observed, self._clock())
        if decision.ledger != ledger and not is_cache_seen:
            # At rest the cache is left in peace; nothing is begun without a look at it.
            observed = await self._with_cache(rollout, spec, observed)
            decision = self._decide(spec, ledger, observed, self._clock())
        return observed, decision

    async def _with_cache(
        self, rollout: RolloutObject, spec: CacheRolloutSpec, observed: Observed
    ) -> Observed:
        cache = await self._world.caches.observe(rollout.key, spec)
        return dataclasses.replace(observed, cache=cache)

    async def _apply(
        self,
        rollout: RolloutObject,
        spec: CacheRolloutSpec,
        decision: Decision,
        observed: Observed,
        done: list[str],
    ) -> None:
        """Carry the actions out in order; ConflictError where one is no longer asked for.

        `done` gets the names of those that were carried out on the cluster.
        """
        actions = decision.actions
        if any(action.is_irreversible for action in actions):
            # One fresh look before the first of them: later ones would see what these have done.
            observed, fresh = await self._look(rollout, spec, decision.ledger)
            actions = confirmed(actions, fresh)
        for action in actions:
            self._ensure_leading()
            if isinstance(action, RunWorks):
                pods = observed.canary_pods()
                await self._world.caches.run(rollout.key, spec, action.works, pods)
            else:
                await self._world.workloads.apply(rollout, spec, action)
                done.append(type(action).__name__)

    async def _failed(self, key: Key, rollout: RolloutObject | None, error: Exception) -> Outcome:
        failure = classify(error)
        trouble = self._troubles.setdefault(key, _Trouble())
        if failure.blame is Blame.RACE:
            trouble.conflicts += 1
            log.debug("A pass of %s lost a race: %s", key, failure.message)
            is_busy = trouble.conflicts > CONFLICTS_AT_ONCE
            return Outcome(failure.blame.value, 0.0, is_failure=is_busy)
        trouble.failures += 1
        if failure.blame in (Blame.OURS, Blame.UNKNOWN):
            log.error("A pass of %s failed: %s", key, failure.message, exc_info=error)
        else:
            log.warning("A pass of %s could not be made: %s", key, failure.message)
        is_state = failure.blame is not Blame.WORLD or trouble.failures >= SAID_AFTER_FAILURES
        is_told = True
        if rollout is not None and is_state:
            is_told = await self._tell(rollout, failure, trouble)
        match failure.blame:
            case Blame.USER if is_told:
                return Outcome(failure.blame.value)
            case Blame.OURS if is_told and rollout is not None:
                trouble.quarantined = _look_of(rollout)
                return Outcome(failure.blame.value)
            case _:
                delay = failure.retry_seconds or 0.0
                return Outcome(failure.blame.value, delay, is_failure=True)

    async def _tell(self, rollout: RolloutObject, failure: Failure, trouble: _Trouble) -> bool:
        """Put a failure into the conditions, with an event when its reason is new there."""
        is_new = trouble.told is None or trouble.told.reason != failure.reason
        try:
            current = await self._world.workloads.read(rollout.key)
            if current is None or current.uid != rollout.uid:
                return True
            before = current.status
            status = with_failure(
                before, failure, before, generation=current.generation, now=self._clock()
            )
            if status != before:
                self._ensure_leading()
                current = await self._world.workloads.write_status(current, status)
            trouble.told = failure
            if is_new and ready_reason(before) != failure.reason:
                said = Say(failure.reason, failure.message, is_warning=True)
                await self._world.recorder.say(current, said)
        except Exception as error:  # noqa: BLE001 - the pass has failed already; it is tried again
            log.warning("%s could not be told of it: %s", rollout.key, classify(error).message)
            return False
        return True

    def _spec_of(self, rollout: RolloutObject) -> CacheRolloutSpec:
        try:
            spec = specs.parse(rollout.spec)
        except SpecError:
            if not rollout.is_deleting:
                raise
            uid, last = self._valid.get(rollout.key, ("", None))
            left = last if last and uid == rollout.uid else specs.salvage(rollout.spec)
            if left is None:
                raise
            return left
        self._valid[rollout.key] = (rollout.uid, spec)
        return spec

    def _is_quarantined(self, rollout: RolloutObject) -> bool:
        trouble = self._troubles.get(rollout.key)
        return trouble is not None and trouble.quarantined == _look_of(rollout)

    def _ensure_leading(self) -> None:
        if not self._world.may_act():
            raise LeaseLostError

    def _next_look(self, decision: Decision) -> float:
        delay = min(decision.requeue_seconds, RESYNC_SECONDS)
        return min(delay * self._rng.uniform(0.9, 1.1), RESYNC_SECONDS)

    async def _forget(self, key: Key) -> None:
        self._troubles.pop(key, None)
        self._valid.pop(key, None)
        self._watcher.forget(key)
        self._world.metrics.forget(key)
        await self._world.caches.forget(key)


def has_cache_business(ledger: Ledger) -> bool:
    """Whether something is under way that concerns the cache."""
    return (
        ledger.attempt is not None
        or bool(ledger.retiring)
        or ledger.is_announcing
        or ledger.deleting_since is not None
    )


def confirmed(planned: tuple[Action, ...], fresh: Decision) -> tuple[Action, ...]:
    """The planned actions, if a fresh decision still asks for every irreversible one of them.

    Those are taken from the fresh decision, since it speaks of the target as it is now: what may
    differ is the resource version, and in works whatever can be undone. Raises ConflictError.
    """
    actions: list[Action] = []
    for action in planned:
        again: Action | None = action
        if action.is_irreversible:
            again = next((other for other in fresh.actions if _is_same(action, other)), None)
        if again is None:
            raise ConflictError(f"the world moved on before {type(action).__name__}")
        actions.append(again)
    return tuple(actions)


def _is_same(planned: Action, fresh: Action) -> bool:
    if isinstance(planned, RunWorks) and isinstance(fresh, RunWorks):
        return _retired(planned) == _retired(fresh)
    return type(planned) is type(fresh) and _timeless(planned) == _timeless(fresh)


def _retired(works: RunWorks) -> set[str]:
    return {work.key for work in works.works if isinstance(work, RetireWork)}


def _timeless(action: Action) -> dict[str, Any]:
    fields = dataclasses.asdict(action)
    fields.pop("resource_version", None)
    return fields


def _ledger_of(rollout: RolloutObject) -> Ledger:
    try:
        return load_ledger(rollout.status.get("ledger"))
    except ValueError as error:
        # Acting without it would allot a used version again, or ship what was never judged.
        raise InvariantError(
            "status.ledger cannot be read; it must not be edited. Restore it, or delete this "
            "CacheRollout and create it again"
        ) from error


def _look_of(rollout: RolloutObject) -> tuple[object, ...]:
    """What a person changes when they want another try."""
    annotations = tuple(sorted(rollout.annotations.items()))
    return (rollout.uid, rollout.generation, rollout.is_deleting, annotations)


def _log_change(
    key: Key,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    decision: Decision,
    done: list[str],
) -> None:
    """One line for a pass that changed something people care about."""
    has_moved = (before.get("phase"), ready_reason(before)) != (
        after.get("phase"),
        ready_reason(after),
    )
    if not (done or has_moved):
        return
    log.info(
        "%s",
        decision.message,
        extra={
            "rollout": str(key),
            "phase": decision.phase.value,
            "reason": decision.reason.value,
            "attempt": decision.ledger.attempts,
            "actions": ",".join(done),
        },
    )
