"""From the decision to promote to the end of the roll-back window."""

from cacherollout.api.reasons import Phase, Reason
from cacherollout.core import announcing, holds, rollback
from cacherollout.core.actions import (
    Action,
    ApplyTarget,
    DeleteCanary,
    KeepWork,
    Work,
)
from cacherollout.core.counting import origin_ratio
from cacherollout.core.decisions import Decision
from cacherollout.core.gates import Verdict
from cacherollout.core.idling import retire_works
from cacherollout.core.judging import worst
from cacherollout.core.passes import SOON, Pass
from cacherollout.core.ramp import may_roll, most
from cacherollout.core.trial import blocking, crew, sickness
from cacherollout.core.versions import is_same, wanted_release
from cacherollout.core.warmup import is_warm, warm_works


def promote(here: Pass) -> Decision:
    """Let the target's own rolling update run, as fast as the origin can bear."""
    attempt, target = here.attempt, here.target
    if target.revision != attempt.release.revision:
        return rollback.abort(
            here, Reason.SUPERSEDED, "another release arrived during promotion", rejected=False
        )
    bad = worst(here.findings)
    if bad.verdict is Verdict.FAIL:
        return rollback.abort(here, Reason.GATE_FAILED, f"{bad.gate}: {bad.message}")
    if target.is_complete and _runs(here, attempt.release.version):
        return _promoted(here)
    blocked = blocking(here, bad)
    here = holds.note(here, blocked)
    if blocked is not None and holds.is_too_sick(here):
        return rollback.abort(here, Reason.SHARED_DEPENDENCY_DEGRADED, sickness(here, blocked[1]))
    if holds.is_overdue(here, attempt.promote_at or here.now):
        return rollback.abort(
            here,
            Reason.DEADLINE_EXCEEDED,
            f"{target.updated_ready} of {target.replicas} pods were promoted within the deadline "
            f"of {here.spec.deadline:g} s",
        )
    return _roll(here, blocked)


def observe(here: Pass) -> Decision:
    """Keep judging, and the old version warm, until the window is over."""
    attempt, target = here.attempt, here.target
    wanted = wanted_release(here.spec, here.stable, target)
    if wanted is None:
        return rollback.abort(
            here, Reason.SUPERSEDED, "the stable release was asked for", rejected=False
        )
    if not is_same(wanted, attempt.release):
        return _accept(here, " The next release arrived, which ended its roll-back window.")
    bad = worst(here.findings)
    if bad.verdict is Verdict.FAIL:
        return rollback.abort(here, Reason.GATE_FAILED, f"{bad.gate}: {bad.message}")
    end = (attempt.promoted_at or here.now) + here.spec.rollback_window
    blocked = blocking(here, bad)
    if here.now >= end and (blocked is None or here.now >= end + here.spec.deadline):
        return _accept(here, "")
    works = _window_works(here)
    left = max(0.0, end - here.now)
    message = (
        f"{attempt.release.version} serves everybody; {here.stable.version} stays warm for a "
        "roll-back."
    )
    if blocked is not None:
        message = f"{message} {blocked[1]}"
    return here.decide(
        Phase.OBSERVING,
        blocked[0] if blocked else Reason.OBSERVING,
        message,
        *_rehold(here),
        *_drop_canary(here),
        announcing.run_works(here, *works, *retire_works(here)),
        requeue_seconds=min(here.pace_seconds, max(left, 1.0)),
        next_=f"{here.stable.version} is retired in {left:.0f} s",
    )


def _roll(here: Pass, blocked: tuple[Reason, str] | None) -> Decision:
    attempt, target = here.attempt, here.target
    may = may_roll(here.spec, attempt) and blocked is None
    ratio = origin_ratio(attempt)
    load = f"origin at {ratio:.2f}× of {here.spec.budget():g}×" if ratio is not None else ""
    if may == attempt.is_paced:
        here = here.with_attempt(is_paced=not may)
        if not may and blocked is None:
            here = here.saying(
                Reason.PROMOTION_PACED, f"The rolling update waits for the database: {load}."
            )
    entry = attempt.release.entry
    is_as_it_should = target.is_paused is not may and _runs(here, attempt.release.version)
    actions: tuple[Action, ...] = ()
    if not is_as_it_should and (may or not target.is_paused):
        actions = (here.apply_target(entry, is_paused=not may, is_promotion=may),)
    why = blocked[1] if blocked else load
    words = "goes on" if may else "waits"
    reason = blocked[0] if blocked else Reason.ORIGIN_BUSY
    return here.decide(
        Phase.PROMOTING,
        Reason.PROMOTION_STARTED if may else reason,
        f"{target.updated_ready} of {target.replicas} pods run {attempt.release.version}; the "
        f"rolling update {words}{why and f' ({why.rstrip(chr(46))})'}.",
        *actions,
        *_canary(here),
        announcing.run_works(here, *_window_works(here), *retire_works(here)),
        requeue_seconds=min(here.pace_seconds, 2.0),
        is_stalled=holds.is_stuck(here),
    )


def _canary(here: Pass) -> tuple[Action, ...]:
    """The canary goes on until the release serves: without its pods there may be nothing to see."""
    canary = here.observed.canary
    if canary is not None and (not canary.is_ours or canary.attempt != here.attempt.number):
        return ()
    size = min(here.attempt.admitted, most(here.spec, here.target.replicas))
    is_open = is_warm(_window_works(here), here.observed.cache)
    return crew(here, size, size, is_open=is_open)


def _promoted(here: Pass) -> Decision:
    attempt, target = here.attempt, here.target
    here = here.with_attempt(promoted_at=round(here.now, 3), is_paced=False).saying(
        Reason.PROMOTED,
        f"All {target.replicas} pods run {attempt.release.version}; {here.stable.version} stays "
        f"warm for {here.spec.rollback_window:g} s.",
    )
    return here.decide(
        Phase.OBSERVING,
        Reason.PROMOTED,
        f"All {target.replicas} pods run {attempt.release.version}.",
        here.apply_target(attempt.release.entry, is_paused=True),
        *_drop_canary(here),
        announcing.run_works(here, *_window_works(here), *retire_works(here)),
        requeue_seconds=SOON,
    )


def _accept(here: Pass, note: str) -> Decision:
    """The release is the stable one from here on; its predecessor will not serve again."""
    attempt, before = here.attempt, here.stable
    release = attempt.release
    took = here.now - attempt.started_at
    sentence = f"Promoted {release.version} in {took:.0f} s, window included.{note}"
    retiring = here.ledger.retiring
    if before.version != release.version:
        retiring = (*retiring, before.version)
    here = here.with_ledger(stable=release, attempt=None, retiring=retiring, succeeded=sentence)
    if before.version == release.version:
        here = here.saying(Reason.SUCCEEDED, sentence)
    return here.decide(
        Phase.RETIRING if retiring else Phase.SUCCEEDED,
        Reason.SUCCEEDED,
        sentence,
        *_rehold(here, release.entry),
        requeue_seconds=SOON,
    )


def _window_works(here: Pass) -> tuple[Work, ...]:
    """Works from promotion to the window's end: coherence both ways, and the old TTLs."""
    works = warm_works(here.spec, here.attempt, here.stable, is_warming=False)
    if not works:
        return works
    start = here.attempt.promoted_at or here.now
    until = start + here.spec.rollback_window + here.spec.deadline
    return (*works, KeepWork(here.stable.version, until=round(until)))


def _rehold(here: Pass, entry: str | None = None) -> tuple[ApplyTarget, ...]:
    if here.target.is_paused:
        return ()
    mine = entry if here.ledger.attempt is None else here.attempt.release.entry
    return (here.apply_target(mine, is_paused=True),)


def _drop_canary(here: Pass) -> tuple[DeleteCanary, ...]:
    canary = here.observed.canary
    if canary is None or not canary.is_ours or canary.is_terminating:
        return ()
    return (DeleteCanary(canary.uid),)


def _runs(here: Pass, version: str) -> bool:
    """Whether the target's template already asks for this version."""
    return (here.target.running_version or here.spec.cache.initial_version) == version
