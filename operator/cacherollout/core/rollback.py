"""Undo a release: traffic first, then the template, then what is left of it.

Before promotion the target was never touched, so closing the gates and deleting the canary is all
that users can notice. After it, the stable template goes back onto a cache that is still warm.
"""

from dataclasses import replace

from cacherollout.api.ledger import Abort, Attempt, Release
from cacherollout.api.reasons import Phase, Reason
from cacherollout.core import announcing
from cacherollout.core.actions import (
    Action,
    DeleteCanary,
    KeepSnapshot,
    KeepWork,
    RestoreTarget,
    SetAdmission,
    Work,
)
from cacherollout.core.counting import hit_rate, origin_ratio
from cacherollout.core.decisions import Decision
from cacherollout.core.judging import judgements
from cacherollout.core.passes import SOON, Pass, number_of_pods
from cacherollout.core.warmup import warm_works

_LOOK_SECONDS = 1.0


def abort(here: Pass, reason: Reason, message: str, *, rejected: bool = True) -> Decision:
    """Remember the decision and say so, and act on it in the same pass."""
    version = here.attempt.release.version
    ratio = origin_ratio(here.attempt)
    decided = Abort(
        reason,
        message,
        round(here.now, 3),
        is_rejected=rejected,
        judgements=judgements(here.findings),
        origin_ratio=round(ratio, 2) if ratio is not None else None,
        stable_version=here.stable.version,
    )
    here = here.with_attempt(abort=decided).saying(
        reason, f"{version} is undone: {message}.", is_warning=rejected
    )
    return undo(here)


def undo(here: Pass) -> Decision:
    """The next step back towards the stable release; a decided abort is never taken back."""
    here = _with_newcomer(here)
    before = here.ledger.attempt
    stop = stop_traffic(here)
    if before is not None and before.promote_at is not None and not before.is_restored:
        return _restore(here, stop)
    if stop or here.observed.canary is not None:
        return _decide(here, "its canary is going away", *stop, announcing.run_works(here))
    return _finish(here)


def stop_traffic(here: Pass) -> tuple[Action, ...]:
    """Close every gate and delete the canary, as far as that is still to do."""
    pods = [pod for pod in here.observed.canary_pods() if pod.is_admitted]
    canary = here.observed.canary
    actions: list[Action] = []
    if pods:
        actions.append(SetAdmission(closed=tuple(sorted(pod.name for pod in pods))))
    if canary is not None and canary.is_ours and not canary.is_terminating:
        actions.append(DeleteCanary(canary.uid))
    return tuple(actions)


def _with_newcomer(here: Pass) -> Pass:
    """Note a release that arrived meanwhile; it gets its turn after the undo.

    One that went away again before its template could be kept is forgotten.
    """
    attempt, revision = here.attempt, here.target.revision
    if attempt.promote_at is None or attempt.is_restored:
        return here
    if revision not in (here.stable.revision, attempt.release.revision):
        entry = here.entry_beside(here.stable.entry)
        return here.with_attempt(pending_revision=revision, pending_entry=entry)
    if attempt.pending_revision not in (revision, *here.observed.snapshots):
        return here.with_attempt(pending_revision=None)
    return here


def _restore(here: Pass, stop: tuple[Action, ...]) -> Decision:
    """Late: put the stable template back, let it roll out, and hold again."""
    attempt, target, stable = here.attempt, here.target, here.stable
    works = announcing.run_works(here, *_keeping(here))
    pending = attempt.pending_revision
    if pending is not None and pending not in here.observed.snapshots:
        hold = here.apply_target(attempt.release.entry, is_paused=True)
        kept = KeepSnapshot(pending) if target.is_paused else hold
        return _decide(here, "the next release is kept for later", *stop, kept, works)
    if not _is_back(here):
        restore = RestoreTarget(
            stable.revision, stable.entry, is_paused=False, resource_version=target.resource_version
        )
        return _decide(here, "the stable template goes back", *stop, restore, works)
    if not target.is_complete:
        go = (here.apply_target(stable.entry, is_paused=False),) if target.is_paused else ()
        words = f"{target.updated_ready} of {target.replicas} pods run {stable.version} again"
        return _decide(here, words, *stop, *go, works)
    here = here.with_attempt(is_restored=True)
    again = here.apply_target(stable.entry, is_paused=True)
    return replace(_decide(here, "the target is held again", *stop, again), requeue_seconds=SOON)


def _is_back(here: Pass) -> bool:
    """Whether the target's template is the stable one again."""
    target, stable = here.target, here.stable
    version = target.running_version or here.spec.cache.initial_version
    return target.revision == stable.revision and version == stable.version


def _keeping(here: Pass) -> tuple[Work, ...]:
    """The old version stays warm and coherent until it serves everybody again."""
    works = warm_works(here.spec, here.attempt, here.stable, is_warming=False)
    if not works:
        return works
    until = here.attempt.abort.at + here.spec.deadline if here.attempt.abort else here.now
    return (*works, KeepWork(here.stable.version, until=round(until)))


def _finish(here: Pass) -> Decision:
    """Nothing of the release runs any more: give its keys to the broom and its place away."""
    attempt, stable, target = here.attempt, here.stable, here.target
    pending = attempt.pending_revision
    if pending in here.observed.snapshots and target.revision == stable.revision:
        put_back = RestoreTarget(
            pending,
            attempt.pending_entry,
            is_paused=True,
            resource_version=target.resource_version,
        )
        return _decide(here, "the next release is put back under the hold", put_back)
    retiring = here.ledger.retiring
    version = attempt.release.version
    if version != stable.version and version not in retiring:
        retiring = (*retiring, version)
    here = _closed(here, attempt, retiring)
    return here.decide(
        Phase.ROLLING_BACK if retiring else Phase.ROLLED_BACK,
        Reason.ROLLED_BACK,
        here.ledger.rejected_message
        or f"Release {attempt.release.revision} is undone; {stable.version} serves.",
        requeue_seconds=SOON,
    )


def _closed(here: Pass, attempt: Attempt, retiring: tuple[str, ...]) -> Pass:
    abort = attempt.abort
    sentence = summary(here)
    rejected: Release | None = None
    reason = ""
    if abort is not None and abort.is_rejected:
        rejected, reason = attempt.release, abort.reason
    closed = here.with_ledger(
        attempt=None,
        retiring=retiring,
        rejected=rejected,
        rejected_reason=reason,
        rejected_message=sentence if rejected is not None else "",
        undone=_remembered(attempt, here.now),
        succeeded="",
    )
    if retiring:
        return closed
    return closed.saying(Reason.ROLLED_BACK, sentence, is_warning=rejected is not None)


def _remembered(attempt: Attempt, now: float) -> Attempt:
    """The attempt as a report needs it: without the counters of pods that are gone."""
    abort = attempt.abort and replace(attempt.abort, undone_at=round(now, 3))
    return replace(attempt, abort=abort, counted=())


def failed_requests(attempt: Attempt) -> float:
    """Requests that were counted as failed on the release's own pods."""
    return next((item.bad for item in attempt.evidence if item.name == "httpErrorRate"), 0.0)


def summary(here: Pass) -> str:
    """What happened, why, and what it cost, in words for a tired person."""
    attempt, stable = here.attempt, here.stable
    abort, version = attempt.abort, attempt.release.version
    why = f"{abort.message}" if abort else "it was given up"
    began = attempt.traffic_since
    if began is None or abort is None:
        cost = "It never took traffic."
    else:
        cost = (
            f"{number_of_pods(attempt.admitted)} took traffic for {abort.at - began:.0f} s; "
            f"{failed_requests(attempt):,.0f} requests failed there."
        )
    share = hit_rate(attempt.stable_traffic)
    warm = f" at a hit rate of {share * 100:.1f} %" if share is not None else ""
    return f"Rolled back {version}: {why}. {cost} {stable.version} serves{warm}."


def _decide(here: Pass, what: str, *actions: Action) -> Decision:
    abort, version = here.attempt.abort, here.attempt.release.version
    why = abort.message if abort else ""
    return here.decide(
        Phase.ROLLING_BACK,
        Reason(abort.reason) if abort else Reason.ROLLING_BACK,
        f"{version} is undone ({why}): {what}.",
        *actions,
        requeue_seconds=_LOOK_SECONDS,
    )
