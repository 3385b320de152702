"""The Lease: of several replicas one works, and one that may no longer work ends at once.

A candidate takes the Lease when its holder released it or was not seen renewing it for its whole
duration, measured on the candidate's own clock, never by comparing two machines' clocks. Every
write carries the resourceVersion that was read, so that of two takers one loses. The holder stops
by itself well before the duration is over: between its last good renewal plus `RENEW_SECONDS` and
the earliest take-over lie five seconds in which nobody acts.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cacherollout.ports.errors import CacheRolloutError, ConflictError
from cacherollout.shell.clock import Clock, at_utc
from cacherollout.shell.errors import foreign

log = logging.getLogger(__name__)

DURATION_SECONDS: Final = 15.0
"""A holder that is not seen renewing for so long has lost the Lease."""
RENEW_SECONDS: Final = 10.0
"""A holder that could not renew for so long ends."""
RETRY_SECONDS: Final = 2.0
"""Time between two renewals, and longest time one may take before it is tried again."""
POLL_SECONDS: Final = 1.0
"""Time between two looks of a candidate; bounds how long a released Lease lies unused."""

_MICRO: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


class LeaseStore(Protocol):
    """Where the Lease is kept. Raises the errors of ports.errors."""

    async def read(self) -> dict[str, Any] | None:
        """The Lease as stored; None where there is none."""
        ...

    async def create(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The Lease as created; ConflictError where there is one."""
        ...

    async def replace(self, lease: dict[str, Any]) -> dict[str, Any]:
        """The Lease as written; ConflictError where somebody wrote since it was read."""
        ...


@dataclass(frozen=True, slots=True)
class _Sight:
    """The Lease as last seen to change, and when, on the event loop's clock."""

    version: str
    at: float


class Lease:
    """One replica's claim to the Lease."""

    def __init__(self, store: LeaseStore, identity: str, clock: Clock) -> None:
        self._store = store
        self._identity = identity
        self._clock = clock
        self._sight: _Sight | None = None
        self._held: dict[str, Any] | None = None
        self._renewed_at = 0.0

    def may_act(self) -> bool:
        """Whether nobody else can hold the Lease now, as far as the loop's clock can tell."""
        if self._held is None:
            return False
        return asyncio.get_running_loop().time() - self._renewed_at < RENEW_SECONDS

    async def acquire(self) -> None:
        """Wait until the Lease is ours; outages of the API server only make it take longer."""
        said = ""
        while True:
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    holder = await self._try_to_take()
            except (CacheRolloutError, TimeoutError) as error:
                state = f"Standing by; the Lease could not be read or taken: {_text_of(error)}"
            else:
                if holder is None:
                    log.info("This replica holds the Lease.", extra={"identity": self._identity})
                    return
                state = f"Standing by; {holder} holds the Lease."
            if state != said:  # a state is said once, however long it lasts
                log.info("%s", state, extra={"identity": self._identity})
                said = state
            await asyncio.sleep(POLL_SECONDS)

    async def keep(self) -> str:
        """Renew until the Lease is lost; gives the reason. Nothing may be written afterwards."""
        loop = asyncio.get_running_loop()
        while self._held is not None:
            await asyncio.sleep(RETRY_SECONDS)
            left = self._renewed_at + RENEW_SECONDS - loop.time()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(min(left, RETRY_SECONDS)):
                    await self._renew()
            except ConflictError:
                with suppress(CacheRolloutError, TimeoutError):
                    async with asyncio.timeout(min(left, RETRY_SECONDS)):
                        await self._check_holder()
            except (CacheRolloutError, TimeoutError) as error:
                log.warning("The Lease could not be renewed: %s", _text_of(error))
        if self._held is None:
            return "another replica holds it"
        self._held = None
        return f"it could not be renewed for {RENEW_SECONDS:.0f} s"

    async def release(self) -> None:
        """Give the Lease up, so that a successor need not wait for it to run out."""
        held, self._held = self._held, None
        if held is None:
            return
        spec = {**held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                await self._store.replace({**held, "spec": spec})
        except (CacheRolloutError, TimeoutError) as error:
            log.warning("The Lease could not be released: %s", _text_of(error))

    async def _try_to_take(self) -> str | None:
        """Take the Lease if it is free; gives its holder if not."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        lease = await self._store.read()
        if lease is None:
            taken = await self._store.create(self._claim({}))
        else:
            spec = lease.get("spec") or {}
            holder = spec.get("holderIdentity") or ""
            if holder not in ("", self._identity) and not self._has_run_out(lease):
                return str(holder)
            taken = await self._store.replace({**lease, "spec": self._claim(spec)})
        self._held, self._renewed_at = taken, asked_at
        return None

    def _has_run_out(self, lease: dict[str, Any]) -> bool:
        now = asyncio.get_running_loop().time()
        version = str(lease["metadata"]["resourceVersion"])
        if self._sight is None or self._sight.version != version:
            self._sight = _Sight(version, now)
        duration = float(lease["spec"].get("leaseDurationSeconds") or DURATION_SECONDS)
        return now - self._sight.at >= duration

    async def _renew(self) -> None:
        held = self._held
        if held is None:
            return
        # Counted from before the request: when it took effect is not known any better.
        asked_at = asyncio.get_running_loop().time()
        spec = {**held["spec"], "renewTime": self._now()}
        self._held = await self._store.replace({**held, "spec": spec})
        self._renewed_at = asked_at

    async def _check_holder(self) -> None:
        """After a lost race: an edit by somebody else leaves us the holder, a taker does not."""
        lease = await self._store.read()
        is_ours = lease is not None and lease["spec"].get("holderIdentity") == self._identity
        self._held = lease if is_ours else None

    def _claim(self, spec: dict[str, Any]) -> dict[str, Any]:
        is_new_holder = spec.get("holderIdentity") != self._identity
        return {
            **spec,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION_SECONDS),
            "acquireTime": self._now(),
            "renewTime": self._now(),
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + int(is_new_holder),
        }

    def _now(self) -> str:
        return at_utc(self._clock()).strftime(_MICRO)


def _text_of(error: Exception) -> str:
    return foreign(str(error)) or "no answer in time"


async def end_when_lost(lease: Lease, end: Callable[[str], None]) -> None:
    """Keep the Lease; call `end`, which must not return to any writer, when it is lost."""
    end(await lease.keep())
