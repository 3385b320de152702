"""The invariants of core/decide.py, looked at after every second and every pass."""

from typing import TYPE_CHECKING

from cacherollout.api.ledger import Ledger
from cacherollout.api.reasons import Phase
from cacherollout.core.actions import RetireWork, Work

if TYPE_CHECKING:
    from tests.scenario.clusters import Pod
    from tests.scenario.world import World

ALLOWANCE_SECONDS = 2.0
"""For so long a pod may go by what it read of the versions in use."""
WARM = 0.8
"""Below this a namespace would let more through to the origin than the budget allows."""

_P = Phase
ANYWHERE = frozenset({_P.ROLLING_BACK, _P.ROLLED_BACK, _P.PENDING})
"""What may follow any phase; an undo that has nothing to do is over at once."""
GRAPH: dict[str, frozenset[Phase]] = {
    "": frozenset({_P.PENDING, _P.IDLE, _P.ROLLING_BACK}),
    _P.PENDING: ANYWHERE | {_P.IDLE, _P.WARMING, _P.SUCCEEDED, _P.RETIRING, _P.PROMOTING},
    _P.IDLE: ANYWHERE | {_P.WARMING, _P.PROMOTING, _P.RETIRING},
    _P.WARMING: ANYWHERE | {_P.ANALYZING},
    _P.ANALYZING: ANYWHERE | {_P.PROMOTING},
    _P.PROMOTING: ANYWHERE | {_P.OBSERVING, _P.IDLE, _P.WARMING, _P.SUCCEEDED, _P.RETIRING},
    _P.OBSERVING: ANYWHERE | {_P.RETIRING, _P.SUCCEEDED},
    _P.ROLLING_BACK: ANYWHERE | {_P.IDLE, _P.WARMING, _P.RETIRING, _P.PROMOTING, _P.SUCCEEDED},
    _P.RETIRING: ANYWHERE | {_P.SUCCEEDED, _P.WARMING, _P.IDLE, _P.PROMOTING},
    _P.SUCCEEDED: ANYWHERE | {_P.WARMING, _P.IDLE, _P.PROMOTING},
    _P.ROLLED_BACK: ANYWHERE | {_P.WARMING, _P.IDLE, _P.PROMOTING},
}


class BrokenError(BaseException):
    """An invariant does not hold; no operator's error handling may swallow that."""


class Oracle:
    """Remembers what was, and complains about what must not be."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._disturbed_at = world.now
        self._phases: dict[str, str] = {}
        self._generations: dict[str, int] = {}
        self._promoted: set[int] = set()
        self.has_word = False
        """A person asked for a promotion."""
        self.is_leaked = False
        """Somebody lifted the hold, or changed the template of a running roll-out."""
        self.phases: list[str] = []
        """Every phase that was entered, in order."""

    def disturb(self) -> None:
        """Somebody else than the operator took pods away."""
        self._disturbed_at = self._world.now

    def check(self) -> None:
        """All that can be seen from outside."""
        world = self._world
        self._check_ready()
        attempts = {pod.attempt for pod in world.pods if pod.is_canary and pod.is_alive}
        if len(attempts) > 1:
            raise BrokenError(f"I6: canaries of the attempts {attempts}")
        for stored in world.stored.values():
            self._check_phase(stored.uid, stored.status.get("phase"), stored.status)
        if not self.is_leaked:
            self._check_versions(world.ledger)
            self._check_heard(world.ledger)
        self._check_promotion(world.ledger)

    def _check_ready(self) -> None:
        """I1: nobody but people takes ready pods away."""
        world = self._world
        if world.target is None or world.now - self._disturbed_at < 30:
            return
        ready = sum(world.is_ready(pod) for pod in world.target_pods())
        if ready < world.target.replicas:
            raise BrokenError(f"I1: {ready} of {world.target.replicas} pods are ready")

    def _check_versions(self, ledger: Ledger) -> None:
        """I3: whoever serves runs the stable or the judged release."""
        if ledger.stable is None:
            return
        known = {(ledger.stable.revision, ledger.stable.version)}
        if ledger.attempt is not None:
            release = ledger.attempt.release
            known.add((release.revision, release.version))
        for pod in self._world.serving():
            if (pod.template.revision, pod.version or "v1") not in known:
                raise BrokenError(f"I3: {pod.name} runs {pod.template} as {pod.version}")

    def _check_heard(self, ledger: Ledger) -> None:
        """I11: what may be read under a version, every pod of another one knows how to delete."""
        world = self._world
        if not any("versionsKey" in each.spec["cache"] for each in world.stored.values()):
            return
        pods = [pod for pod in world.pods if pod.is_alive]
        used = {pod.version or "v1" for pod in pods}
        if ledger.stable is not None:
            used |= {ledger.stable.version} & world.cache.namespaces.keys()
        for version in used:
            heard = world.now - world.cache.named_since.get(version, world.now) >= ALLOWANCE_SECONDS
            deaf = [pod.name for pod in pods if (pod.version or "v1") != version]
            if deaf and not heard:
                raise BrokenError(f"I11: {deaf} do not know of {version}")

    def _check_promotion(self, ledger: Ledger) -> None:
        """I4: promoted is what passed every gate in this attempt, or what a person let pass."""
        attempt = ledger.attempt
        if attempt is None or attempt.promote_at is None or attempt.number in self._promoted:
            return
        self._promoted.add(attempt.number)
        if attempt.abort is not None or self.has_word:
            return
        verdicts = {gate["name"]: gate["verdict"] for gate in self._world.status["gates"]}
        if len(verdicts) < 7 or set(verdicts.values()) - {"Pass", "NotAsked"}:
            raise BrokenError(f"I4: promoted with {verdicts}")

    def _check_phase(self, uid: str, phase: str | None, status: dict[str, int]) -> None:
        """I5: phases move along the graph, and the generation never falls."""
        before = self._phases.get(uid, "")
        if phase is None or phase == before:
            return
        if Phase(phase) not in GRAPH[before]:
            raise BrokenError(f"I5: {before} -> {phase}: {self._world.status['message']}")
        self._phases[uid] = phase
        self.phases.append(phase)
        if status["observedGeneration"] < self._generations.get(uid, 0):
            raise BrokenError("I5: the observed generation fell")
        self._generations[uid] = status["observedGeneration"]

    def works(self, works: tuple[Work, ...]) -> None:
        """I2: what serves, or may be returned to, keeps its keys."""
        world, ledger = self._world, self._world.ledger
        gone = {name for work in works if isinstance(work, RetireWork) for name in work.versions}
        used = {pod.version or "v1" for pod in world.pods}
        if ledger.stable is not None:
            used.add(ledger.stable.version)
        is_going = any(stored.is_deleting for stored in world.stored.values())
        if ledger.attempt is not None and ledger.attempt.abort is None and not is_going:
            used.add(ledger.attempt.release.version)
        if gone & used:
            raise BrokenError(f"I2: keys of {gone & used} are removed while they are used")

    def admit(self, pod: "Pod") -> None:
        """I10: no traffic for a namespace that is not warm."""
        cache, stable = self._world.cache, self._world.ledger.stable
        warmth = cache.warmth(pod.version)
        # Nothing gets warmer than what it is filled from.
        enough = min(WARM, 0.85 * cache.warmth(stable.version)) if stable else WARM
        if not pod.is_admitted and warmth < enough:
            raise BrokenError(f"I10: {pod.name} is admitted to {pod.version} at {warmth:.2f}")
