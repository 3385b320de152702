"""The ledger: the part of the status that cannot be observed anew, and nothing else.

Stable and target release, the attempt with its decisions and their times, the evidence of the gates
with the counters it was computed from, versions ever used. Everything else is looked at afresh on
every pass. A phase is never stored here: it follows from which decisions have been taken.

Times are seconds since the epoch, as the wall clock of the operator that took the decision had it.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

_CAMEL = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

MAX_VERSIONS = 64
MAX_COUNTED_PODS = 128
MAX_TRANSITIONS = 32


@dataclass(frozen=True, slots=True)
class Release:
    """A pod template together with the cache version it runs."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    revision: str
    version: str
    entry: str | None = None
    """Value of the operator's own version entry in the template; None where it has none."""
    fingerprints: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one sequential gate has gathered; see core/gates.py for the three sums."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    name: str
    canary_specific: float = 0.0
    absolute: float = 0.0
    fine: float = 0.0
    bad: float = 0.0
    total: float = 0.0
    baseline_bad: tuple[float, ...] = ()
    baseline_total: tuple[float, ...] = ()
    before: tuple[tuple[float, float, float], ...] = ()
    """Seconds of the latest ticks, with the first two sums as they stood before each."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Cumulative counters of one pod, as last counted."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    lookups: float = 0.0
    misses: float = 0.0
    operations: float = 0.0
    errors: float = 0.0
    slow: float = 0.0
    timed: float = 0.0
    requests: float = 0.0
    failures: float = 0.0
    origin: float = 0.0


@dataclass(frozen=True, slots=True)
class CountedPod:
    """The counters of a pod that have entered the evidence, so that none is counted twice."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    uid: str
    counters: Counters = field(default_factory=Counters)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rates of one side over the last measurement, per second."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    lookups: float = 0.0
    misses: float = 0.0
    requests: float = 0.0
    failures: float = 0.0
    errors: float = 0.0
    operations: float = 0.0
    slow: float = 0.0
    timed: float = 0.0
    origin: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one gate said at a moment that is over; see core/gates.py for the figures."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    gate: str
    verdict: str
    message: str
    value: str = ""
    target: str = ""
    evidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Abort:
    """A remembered decision: measurements that recover do not take it back."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    reason: str
    message: str
    at: float
    is_rejected: bool = True
    """False where the release may be tried again, as after a deletion or a superseding release."""
    judgements: tuple[Judgement, ...] = ()
    """What every gate said when it was decided."""
    origin_ratio: float | None = None
    """Load on the origin ÷ its normal load when it was decided."""
    stable_version: str = ""
    """Version that went on serving."""
    undone_at: float | None = None
    """When nothing of the release ran any more."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one release; everything in it dies with it."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    number: int
    release: Release
    started_at: float
    warmed_at: float | None = None
    admitted: int = 0
    """Canary pods that may take traffic now."""
    admitted_at: float | None = None
    """When the number of admitted pods last changed."""
    traffic_since: float | None = None
    """When the first canary pod was admitted: the soak counts from here."""
    promote_at: float | None = None
    """When promotion was decided; from here the target's own rolling update may run."""
    promoted_at: float | None = None
    """When every pod of the target ran the release; the roll-back window counts from here."""
    abort: Abort | None = None
    is_restored: bool = False
    """True when, after a late abort, the stable template is back in the target."""
    pending_revision: str | None = None
    """A release that arrived during promotion, put back into the target after the undo."""
    pending_entry: str | None = None
    """The version entry that the operator has beside it; None where it states its own."""
    evidence: tuple[Evidence, ...] = ()
    counted: tuple[CountedPod, ...] = ()
    measured_at: float | None = None
    data_since: float | None = None
    """When the canary last had measurable traffic."""
    hold_since: float | None = None
    """Since when the attempt has been held without a break, for `hold_reason`."""
    hold_reason: str = ""
    excused_seconds: float = 0.0
    """Time of past holds in this phase that does not count towards its deadline."""
    baseline_origin: float | None = None
    """Origin reads per second before the canary took any traffic."""
    baseline_ticks: int = 0
    baseline_failing: float = 0.0
    """Share (0…1) of the stable version's requests that failed before anything was replayed."""
    stable_traffic: Traffic = field(default_factory=Traffic)
    canary_traffic: Traffic = field(default_factory=Traffic)
    is_paced: bool = False
    """True while the rolling update is paused for the origin's sake."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A phase was entered."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    phase: str
    at: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything that a restarted operator must not have forgotten."""

    __pydantic_config__: ClassVar[ConfigDict] = _CAMEL
    target_uid: str | None = None
    stable: Release | None = None
    attempt: Attempt | None = None
    attempts: int = 0
    versions: tuple[str, ...] = ()
    """Versions ever used, newest last; a number is never allotted twice."""
    retiring: tuple[str, ...] = ()
    """Versions whose keys are still to be removed."""
    is_announcing: bool = False
    """True while the versions key may name more than the version that serves."""
    rejected: Release | None = None
    rejected_reason: str = ""
    rejected_message: str = ""
    undone: Attempt | None = None
    """The last attempt that was undone, as it stood at the decision; for people only."""
    succeeded: str = ""
    """Sentence about the last promotion."""
    is_restarting: bool = False
    """True while a restart of the same release is let through the hold."""
    is_paused: bool = False
    """True after a person's `pause`, until their `resume`."""
    deleting_since: float | None = None
    transitions: tuple[Transition, ...] = ()


LEDGER: TypeAdapter[Ledger] = TypeAdapter(Ledger)


def load_ledger(data: dict[str, Any] | None) -> Ledger:
    """The ledger as stored in `status.ledger`; an absent one is empty."""
    return LEDGER.validate_python(data or {})


def dump_ledger(ledger: Ledger) -> dict[str, Any]:
    """The ledger as it is stored; empty parts are left out."""
    dumped: dict[str, Any] = LEDGER.dump_python(
        ledger, mode="json", by_alias=True, exclude_defaults=True, exclude_none=True
    )
    return dumped
