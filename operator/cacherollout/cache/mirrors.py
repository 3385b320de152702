"""Mirror: while two versions are in use, keep the cached copies of one from outliving the other's.

Values flow from the stable version to the target only: what a version on trial stores, broken perhaps,
never reaches the version that serves. Removals flow both ways.

The server pushes every change under both versions' keys (CLIENT TRACKING in broadcasting mode; no
server setting is needed), and the mirror applies it to the counterpart within a round trip or two.
It promises: once the application's deletion of a cached value has been pushed, the counterpart does
not serve the old value for longer than the lag, whatever writers, copier and mirror do in between.
A lost connection loses pushes; it is declared at once, repaired by a walk over both namespaces, and
only then over.

What no mirror can see, and what applications therefore must do:

- Deleting a key that is *not cached* pushes nothing. Under a compatible family the target holds the
  stable version's ids once `Copy` has run over `Mirror.server`; an id that only the target has
  filled, and under an incompatible family any id cached under one version only, is not protected.
  Applications close this by deleting all active versions' keys in one command:
  ``DEL user:v2:7 user:v3:7``. In a cluster, where these keys may lie in two slots, by one DEL after
  the other, the stable version's first: a copy brings values from there.
  Families of applications that do so always are declared as `Writes.INVALIDATE_ALL`: the mirror
  then only copies, for nothing is left to be carried over.
- For an incompatible family under `Writes.INVALIDATE`, a deletion followed by a refill before the
  mirror looks (within the lag) looks like a fill. Only an origin faster than the lag gets there.
- Expiry is pushed like a deletion and removes the counterpart: a little warmth, never freshness.
"""

import asyncio
import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cacherollout.cache.changes import Changes
from cacherollout.cache.channels import Lent, MirrorChannel
from cacherollout.cache.connections import Command, Connection
from cacherollout.cache.errors import (
    TRANSIENT,
    NotReadyError,
    ScriptLostError,
    TemplateError,
    UnreachableError,
)
from cacherollout.cache.facts import read_facts, tightest
from cacherollout.cache.keys import Family, Scope
from cacherollout.cache.limits import Limits
from cacherollout.cache.lockstep import hold, in_step
from cacherollout.cache.reconciling import LOAD
from cacherollout.cache.repairs import Repair
from cacherollout.cache.servers import Channel, Mapped, Server, Watch, Watchable

_BATCH: Final = 50
_HEARTBEAT_SECONDS: Final = 1.0
_FIRST_RETRY_SECONDS: Final = 0.05
_LAST_RETRY_SECONDS: Final = 2.0
_LAGS: Final = 1000


@dataclass(frozen=True, slots=True)
class MirrorState:
    """How a mirror stands.

    Attributes:
        is_coherent: Whether every change so far is applied or about to be.
        incoherent_seconds: For how long it has not been, counted from the last sure sign of life;
            None while coherent, infinite before the first repair.
        gaps: How often pushes were, or may have been, lost.
        mirrored: Values copied to the counterpart.
        removed: Keys removed because of the counterpart.
        repaired: Keys that repairs overwrote or removed.
        pending: Ids that changed and wait.
        has_room: Whether the server is below the memory ceiling. Above it nothing new is copied,
            so that the server need not evict the keys that serve; removals go on.
        lag_p50_seconds: Push to applied, median of the last 1,000; 0 before the first.
        lag_p99_seconds: The same, 99th percentile.

    """

    is_coherent: bool
    incoherent_seconds: float | None
    gaps: int
    mirrored: int
    removed: int
    repaired: int
    pending: int
    has_room: bool
    lag_p50_seconds: float
    lag_p99_seconds: float


class Mirror:
    """A two-way mirror between `stable` and `target`. Needs Redis 6.2; in a cluster 7.0.

    `serving` says which of the two take application traffic, and may be set while the mirror runs:
    set both *before* the target's first pod is admitted, the target alone after promotion. Changes
    under a version that does not serve are not mirrored, and a repair trusts the versions that do.

    `gap_seconds` is for taking over from another process: how long ago its mirror was last known
    coherent; None if there was none.
    """

    def __init__(
        self,
        server: Watchable,
        families: Sequence[Family],
        *,
        stable: str,
        target: str,
        serving: Collection[str],
        limits: Limits | None = None,
        gap_seconds: float | None = None,
    ) -> None:
        if stable == target:
            raise TemplateError(f"target: must differ from stable, both are {stable!r}")
        self._primaries = server
        self._scope = Scope(tuple(families), (stable, target))
        self._versions = (stable, target)
        self._limits = limits or Limits()
        self.serving = serving
        self._changes = Changes(self._scope)
        self._wake = asyncio.Event()
        self._coherent = asyncio.Event()
        self._watch: Watch | None = None
        self._first_gap_seconds = gap_seconds
        self._alive_at = -math.inf
        self._has_room = True
        self._gaps = self._mirrored = self._removed = self._repaired = 0
        self._lags: deque[float] = deque(maxlen=_LAGS)
        self.server: Server = Mapped(server, partial(Lent, self._lend))
        """A `Server` whose writes this mirror knows to be ours; for Copy, Keep and Retire."""

    @property
    def serving(self) -> frozenset[str]:
        """The versions that take application traffic."""
        return self._serving

    @serving.setter
    def serving(self, versions: Collection[str]) -> None:
        wanted = frozenset(versions)
        if not wanted or not wanted <= {*self._versions}:
            raise TemplateError(f"serving: must be one or both of {', '.join(self._versions)}")
        self._serving = wanted

    @property
    def state(self) -> MirrorState:
        """How the mirror stands; call it from the event loop that runs it."""
        lags = sorted(self._lags) or [0.0]
        is_coherent = self._coherent.is_set()
        now = asyncio.get_running_loop().time()
        return MirrorState(
            is_coherent=is_coherent,
            incoherent_seconds=None if is_coherent else now - self._alive_at,
            gaps=self._gaps,
            mirrored=self._mirrored,
            removed=self._removed,
            repaired=self._repaired,
            pending=len(self._changes),
            has_room=self._has_room,
            lag_p50_seconds=lags[len(lags) // 2],
            lag_p99_seconds=lags[len(lags) * 99 // 100],
        )

    async def coherent(self) -> None:
        """Wait until the mirror is coherent."""
        await self._coherent.wait()

    def channel(self) -> Channel:
        """The mirror's own connections, as `server` lends them.

        Raises:
            UnreachableError: There are none at the moment.

        """
        return MirrorChannel(self._watched().channel, self._changes)

    async def run(self) -> None:
        """Mirror until cancelled; reconnect and repair after every loss.

        Raises:
            RefusedError: Credentials or rights are missing.
            CommandError: The server does not know what the mirror needs.

        """
        retry_seconds = _FIRST_RETRY_SECONDS
        while True:
            gaps = self._gaps
            try:
                await self._live()
            except (*TRANSIENT, ScriptLostError):
                if self._gaps != gaps:  # it had worked
                    retry_seconds = _FIRST_RETRY_SECONDS
                await asyncio.sleep(retry_seconds)
                retry_seconds = min(2 * retry_seconds, _LAST_RETRY_SECONDS)

    async def _live(self) -> None:
        """One watch's life: track, then apply, repair and look until something fails."""
        tasks: list[asyncio.Task[None]] = []
        async with self._primaries.watch(self._limits.timeout_seconds) as watch:
            changes = Changes(self._scope, is_clustered=watch.is_clustered, wake=self._wake.set)
            self._changes = changes
            try:
                for connection in watch.connections:
                    connection.on_push = partial(self._note, watch, changes)
                    await connection.pipeline([*LOAD, self._tracking()])
                await watch.check()  # while the first were told to track, others may have come
                self._watch = watch
                loops = (
                    self._apply(watch, changes),
                    self._beat(watch),
                    self._repair(watch, changes),
                    *(_until_lost(connection) for connection in watch.connections),
                )
                tasks += [asyncio.create_task(loop) for loop in loops]
                while True:
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                        tasks.remove(task)
            finally:
                self._watch = None
                self._gaps += self._coherent.is_set()
                self._coherent.clear()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _tracking(self) -> Command:
        watched = [family for family in self._scope.families if family.is_mirrored]
        if not watched:
            return (b"PING",)  # without a prefix, every key of the server would be pushed
        heads = {f.template.head(v) for f in watched for v in self._versions}
        # Redis refuses prefixes that contain one another; the shorter one brings all pushes.
        outer = [h for h in heads if not any(h != o and h.startswith(o) for o in heads)]
        prefixes = [part for head in sorted(outer) for part in (b"PREFIX", head)]
        return (b"CLIENT", b"TRACKING", b"ON", b"BCAST", *prefixes, b"NOLOOP")

    def _note(self, watch: Watch, changes: Changes, push: Sequence[Any]) -> None:
        if push[0] != b"invalidate" or push[1] is None:  # None: FLUSHALL, which leaves no key
            return
        now = asyncio.get_running_loop().time()
        for key in push[1]:
            changes.note(key, now, self._serving)
        if changes.has_overflowed:
            for connection in watch.connections:
                connection.close()
        self._wake.set()

    async def _apply(self, watch: Watch, changes: Changes) -> None:
        loop = asyncio.get_running_loop()
        channel = MirrorChannel(watch.channel, changes)
        while True:
            batch = changes.take(_BATCH)
            if not batch:
                self._wake.clear()
                await self._wake.wait()
                continue
            pairs = [
                change.pair(
                    self._versions, may_grow=self._has_room, is_clustered=watch.is_clustered
                )
                for change in batch
            ]
            conversation = in_step([pair.steps() for pair in pairs])
            outcomes = await hold(conversation, channel.pipeline)
            now = loop.time()
            self._lags.extend(now - change.noted_at for change in batch)
            self._mirrored += sum(outcome > 0 for outcome in outcomes)
            self._removed -= sum(min(0, outcome) for outcome in outcomes)

    async def _beat(self, watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sent_at = loop.time()
            memories = [(await read_facts(each)).memory for each in watch.connections]
            await watch.check()
            if self._coherent.is_set():
                self._alive_at = sent_at
            ceiling = self._limits.memory_ceiling_percent
            headroom = tightest(memories, ceiling).headroom_bytes(ceiling)
            self._has_room = headroom is None or headroom > 0
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def _repair(self, watch: Watch, changes: Changes) -> None:
        async def lend(_: float) -> tuple[Watch, Changes]:
            return watch, changes

        loop = asyncio.get_running_loop()
        gap_seconds = self._first_gap_seconds
        if self._alive_at > -math.inf:
            gap_seconds = loop.time() - self._alive_at
        repair = Repair(
            Mapped(self._primaries, partial(Lent, lend)),
            self._scope,
            serving=self._serving,
            gap_seconds=gap_seconds,
            limits=self._limits,
            is_clustered=watch.is_clustered,
        )
        report = await repair.run()
        while len(changes):
            for connection in watch.connections:
                await connection.call("PING")
        self._repaired += report.overwritten + report.removed
        self._alive_at = loop.time()
        self._coherent.set()

    async def _lend(self, timeout_seconds: float) -> tuple[Watch, Changes]:
        """The watch, once the mirror is coherent."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.coherent()
        except TimeoutError as error:
            raise NotReadyError("the mirror is not coherent yet") from error
        return self._watched(), self._changes

    def _watched(self) -> Watch:
        if self._watch is None:
            raise UnreachableError("the mirror has no connection at the moment")
        return self._watch


async def _until_lost(connection: Connection) -> None:
    await connection.lost.wait()
    await connection.call("PING")  # raises what it was lost for
