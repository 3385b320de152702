"""The real loop over the world: woken by changes and requeues, killed and restarted at will."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from cacherollout.api.ledger import Counters, Ledger
from cacherollout.api.names import Key
from cacherollout.api.reasons import Phase, Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import Work
from cacherollout.core.conditions import report
from cacherollout.core.counting import total
from cacherollout.core.decide import decide
from cacherollout.core.facts import CacheFacts, Measurement, PodFacts, PodMeasurement, Problem
from cacherollout.shell.queues import Outcome
from cacherollout.shell.reconciler import Reconciler
from cacherollout.shell.reconciler import World as Ports
from tests.scenario.world import KilledError, World

RESTING = (Phase.IDLE, Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.PENDING)


class Scenario(World):
    """A world with an operator in it, and time that passes."""

    loop: asyncio.AbstractEventLoop
    """Shared by all; the session's fixture makes and closes it."""

    def __init__(
        self,
        image: str = "a",
        replicas: int = 4,
        *,
        faults: dict[int, str] | None = None,
        is_doubled: bool = False,
        **spec: Any,
    ) -> None:
        """`is_doubled` makes every pass twice."""
        super().__init__(image, replicas, **spec)
        self.faults = faults or {}
        self.passes = 0
        self.outcomes: list[Outcome] = []
        self.is_doubled = is_doubled
        self._due: dict[Key, float] = {}
        self.restart_operator()

    def restart_operator(self) -> None:
        """A new process: nothing of the old one's memory is left."""
        self.cache.running = {}
        self._due = {}
        self.changed = True
        ports = Ports(self, CachePort(self), MetricsPort(self), self, lambda: True)
        self._operator = Reconciler(
            ports,
            decide=decide,
            report=report,
            clock=lambda: self.now,
            watcher=Unwatched(),
            rng=random.Random(self.passes),  # noqa: S311 - jitter
        )

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        self.until(lambda: self.now >= end, limit=seconds + 1)

    def until(self, done: Callable[[], bool] | str, limit: float = 900) -> None:
        """Let time pass until something is so, or a phase is reached; it must within `limit`."""
        is_done = done if callable(done) else lambda: self.phase == done
        end = self.now + limit
        self._work()
        while not is_done():
            if self.now >= end:
                raise AssertionError(
                    f"not within {limit} s: {self.phase}: {self.status['message']}"
                )
            self._second()
            self._work()

    def settle(self, limit: float = 1500) -> None:
        """Let time pass until nothing is under way, and stays so."""
        quiet = 0
        end = self.now + limit
        self._work()
        # What waits for something looks again after a quarter of a minute.
        while quiet < (20 if self.phase == Phase.PENDING else 8):
            if self.now >= end:
                raise AssertionError(f"no rest: {self.phase}: {self.status.get('message')}")
            before = len(self.effects)
            self._second()
            self._work()
            is_still = len(self.effects) == before and not self.changed
            quiet = quiet + 1 if is_still and self._is_resting() else 0

    def _is_resting(self) -> bool:
        rollouts = list(self.stored.values())
        return all(
            not each.is_deleting and each.status.get("phase") in RESTING for each in rollouts
        )

    def _second(self) -> None:
        self.now += 1
        self.control()
        serving = self.serving()
        served = {pod.version or "v1" for pod in serving}
        self._traffic()
        for pod in serving:
            app = self.app(pod.template.image)
            if app.corrupt:
                self.cache.space(pod.version or "v1").corrupt = app.corrupt
        canaries = sum(pod.is_canary and self.runs(pod) for pod in self.pods)
        self.cache.tick(self.now, served, canaries)
        self.oracle.check()

    def _traffic(self) -> None:
        serving = self.serving()
        for pod in serving:
            app, each = self.app(pod.template.image), self.rps / len(serving)
            hit = app.hit_rate * self.cache.warmth(pod.version or "v1")
            broken = 1.0 if self.cache.is_down else app.cache_errors
            misses = 2 * each * (1.0 if self.cache.is_down else 1 - hit)
            counted = app.counts_cache
            one = Counters(
                lookups=2 * each * counted,
                misses=misses * counted,
                operations=2 * each * counted,
                errors=2 * each * broken * counted,
                slow=2 * each * app.slow * counted,
                timed=2 * each * counted,
                requests=each,
                failures=each * app.http_errors,
                origin=misses,
            )
            pod.counters = total((pod.counters, one))
            pod.foreign += app.foreign

    def _work(self) -> None:
        """Every pass that is due now."""
        if self.changed:
            self._due = dict.fromkeys(self.stored, self.now)
            self.changed = False
        for _ in range(100):
            due = [key for key, at in self._due.items() if at <= self.now]
            if not due:
                return
            for key in due:
                self._pass(key)
                if self.is_doubled and key in self.stored:
                    self._pass(key)
            if self.changed:
                self._due.update(dict.fromkeys(self.stored, self.now))
                self.changed = False
        raise AssertionError(f"a hot loop: {self.phase}: {self.status.get('message')}")

    def _pass(self, key: Key) -> None:
        self.passes += 1
        try:
            outcome = self.loop.run_until_complete(self._operator.reconcile(key))
        except KilledError:
            self.oracle.check()
            self.restart_operator()
            self.changed = False
            self._due = dict.fromkeys(self.stored, self.now + 1)
            return
        self.outcomes.append(outcome)
        delay = outcome.requeue_seconds
        if outcome.is_failure:
            delay = max(1.0, delay or 0.0)
        self._due[key] = self.now + (60.0 if delay is None else delay)
        if key in self.stored:
            self.oracle.check()
        else:
            self._due.pop(key, None)


class CachePort:
    """The port `Caches` on the world's cache."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def observe(self, key: Key, spec: CacheRolloutSpec) -> CacheFacts:
        """Health and progress."""
        return self._world.cache.facts()

    async def run(
        self,
        key: Key,
        spec: CacheRolloutSpec,
        works: tuple[Work, ...],
        pods: tuple[PodFacts, ...],
    ) -> None:
        """Ask for works; an effect only where the set changes."""
        world = self._world
        world.oracle.works(works)
        if {work.key for work in works} == world.cache.running.keys():
            world.cache.ask(works)
            return
        with world.effect("works"):
            world.cache.ask(works)

    async def forget(self, key: Key) -> None:
        """End every work."""
        self._world.cache.ask(())


class MetricsPort:
    """The port `Metrics` on the pods' counters; one scrape an interval."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last: Measurement | None = None

    async def measure(
        self, key: Key, spec: CacheRolloutSpec, pods: tuple[PodFacts, ...]
    ) -> Measurement | None:
        """The newest measurement."""
        world, last = self._world, self._last
        if last is not None and world.now - last.at < spec.metrics.interval:
            return last
        if not world.has_metrics:
            problem = Problem(Reason.METRICS_UNAVAILABLE, "No pod answers at /metrics.")
            self._last = Measurement(world.now, (), problem)
            return self._last
        known = {f"uid-{pod.name}": pod for pod in world.pods}
        counted = tuple(
            PodMeasurement(pod.uid, known[pod.uid].counters, known[pod.uid].foreign)
            for pod in pods
            if pod.are_containers_ready
        )
        self._last = Measurement(world.now, counted)
        return self._last

    def forget(self, key: Key) -> None:
        """Drop the last one."""
        self._last = None


class Unwatched:
    """Nobody looks at the metrics of the loop here."""

    def passed(self, result: str, seconds: float) -> None:
        """A pass ended."""

    def show(self, key: Key, phase: Phase, ledger: Ledger, now: float) -> None:
        """A rollout stands here now."""

    def forget(self, key: Key) -> None:
        """A rollout is gone."""
