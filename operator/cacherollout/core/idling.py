"""Nothing under way: adopt the target, start an attempt, let a restart through, or rest."""

from cacherollout.api.ledger import MAX_VERSIONS, Abort, Attempt, Ledger, Release
from cacherollout.api.reasons import Phase, Reason
from cacherollout.core.actions import (
    AddFinalizer,
    ApplyTarget,
    DeleteCanary,
    DropSnapshots,
    KeepSnapshot,
    RetireWork,
    RunWorks,
)
from cacherollout.core.decisions import Decision
from cacherollout.core.facts import PodFacts
from cacherollout.core.passes import SOON, Pass
from cacherollout.core.versions import Wanted, is_same, next_version, wanted_release

_RETRY_SECONDS = 15.0
_HOPELESS = (Reason.BACKEND_MISSING, Reason.INVALID_SPEC, Reason.CACHE_ACCESS_DENIED)
"""Problems that only a person can solve."""


def report_missing_target(here: Pass) -> Decision:
    """There is no such Deployment."""
    name = here.spec.target_ref.name
    return here.decide(
        Phase.PENDING,
        Reason.TARGET_MISSING,
        f"There is no Deployment {name} in this namespace. It is held as soon as its first "
        "roll-out is complete.",
        RunWorks(),
        requeue_seconds=_RETRY_SECONDS,
    )


def report_replaced_target(here: Pass) -> Decision:
    """Another Deployment carries the name of the one that was adopted."""
    if here.ledger.target_uid is None:
        return adopt(here)
    name = here.spec.target_ref.name
    return here.decide(
        Phase.PENDING,
        Reason.TARGET_REPLACED,
        f"Deployment {name} was deleted and created again, and is not held. Adopt the new one with "
        "`kubectl cacherollout retry`, or delete this CacheRollout.",
        RunWorks(),
        is_stalled=True,
    )


def adopt(here: Pass) -> Decision:
    """Take the target under the hold once it runs one complete release."""
    target, problem = here.target, here.observed.problem or here.observed.cache.problem
    if problem is not None:
        return here.decide(
            Phase.PENDING,
            Reason(problem.reason),
            f"Not held yet: {problem.message}",
            is_stalled=problem.reason in _HOPELESS or problem is here.observed.problem,
            requeue_seconds=_RETRY_SECONDS,
        )
    if target.replicas == 0 or not target.is_complete:
        why = "has no replicas" if target.replicas == 0 else "has not completed its roll-out"
        return here.decide(
            Phase.PENDING,
            Reason.TARGET_NOT_READY,
            f"Deployment {here.spec.target_ref.name} {why}, so there is nothing to protect yet. "
            "It is held as soon as every replica runs and is ready.",
            requeue_seconds=_RETRY_SECONDS,
        )
    version = target.running_version or here.spec.cache.initial_version
    is_ours = target.stated_version is None and target.running_version is not None
    stable = Release(
        target.revision,
        version,
        entry=version if is_ours else None,
        fingerprints=here.spec.fingerprints(),
    )
    here = here.with_ledger(
        target_uid=target.uid, stable=stable, versions=remember(here.ledger, version)
    ).saying(
        Reason.ADOPTED,
        f"Deployment {here.spec.target_ref.name} is held; {version} at revision "
        f"{target.revision} is the stable release.",
    )
    return here.decide(
        Phase.IDLE,
        Reason.ADOPTED,
        f"{version} is stable and held; the next release will be gated.",
        AddFinalizer(),
        KeepSnapshot(stable.revision),
        ApplyTarget(True, stable.entry, target.resource_version),
        requeue_seconds=SOON,
    )


def rest_or_start(here: Pass) -> Decision:
    """The hold, leftovers, a restart, a release: whatever is first on this list."""
    target, stable = here.target, here.stable
    strangers = _strangers(here)
    if here.observed.canary is not None and here.observed.canary.is_ours:
        return here.decide(
            Phase.ROLLING_BACK,
            Reason.ROLLING_BACK,
            "A canary without an attempt is being removed.",
            DeleteCanary(here.observed.canary.uid),
            requeue_seconds=1.0,
        )
    # Somebody lifted the hold and a release that nobody judged began to reach users.
    if strangers:
        return _undo_leak(here, strangers)
    if here.ledger.is_restarting or (target.is_restart and target.revision == stable.revision):
        return _restart(here)
    if stable.revision not in here.observed.snapshots and target.revision == stable.revision:
        here = _also(here, KeepSnapshot(stable.revision))
    if not target.is_paused:
        here = _also(here, ApplyTarget(True, stable.entry, target.resource_version)).saying(
            Reason.DRIFT_CORRECTED, "The hold had been lifted by somebody; it is back."
        )
    wanted = wanted_release(here.spec, stable, target)
    if wanted is None or _is_rejected(here, wanted):
        return _rest(here, wanted)
    if target.replicas == 0:
        return _let_go(here)
    return _start(here, wanted)


def remember(ledger: Ledger, version: str) -> tuple[str, ...]:
    """Versions ever used, with this one as the newest."""
    return (*(name for name in ledger.versions if name != version), version)[-MAX_VERSIONS:]


def retire_works(ledger: Ledger) -> tuple[RetireWork, ...]:
    """The work that removes what is left of versions that will not serve again."""
    return (RetireWork(ledger.retiring),) if ledger.retiring else ()


def _also(here: Pass, *actions: KeepSnapshot | ApplyTarget) -> Pass:
    return Pass(
        here.spec,
        here.ledger,
        here.observed,
        here.now,
        here.findings,
        here.says,
        (*here.actions, *actions),
    )


def _strangers(here: Pass) -> tuple[PodFacts, ...]:
    """Pods of the target that run neither the stable template nor are about to go."""
    return tuple(pod for pod in here.observed.target_pods() if pod.revision != here.stable.revision)


def _undo_leak(here: Pass, strangers: tuple[PodFacts, ...]) -> Decision:
    target = here.target
    leaked = target.revision if target.revision != here.stable.revision else strangers[0].revision
    message = (
        f"{len(strangers)} pods of a release that was not judged were running: the hold had been "
        "lifted by somebody else."
    )
    attempt = Attempt(
        number=here.ledger.attempts + 1,
        release=Release(leaked, here.stable.version, entry=here.stable.entry),
        started_at=round(here.now, 3),
        promote_at=round(here.now, 3),
        pending_revision=target.revision if target.revision != here.stable.revision else None,
        abort=Abort(Reason.DRIFT_CORRECTED, message, round(here.now, 3), is_rejected=False),
    )
    here = here.with_ledger(attempt=attempt, attempts=attempt.number).saying(
        Reason.DRIFT_CORRECTED, message, is_warning=True
    )
    return here.decide(
        Phase.ROLLING_BACK,
        Reason.DRIFT_CORRECTED,
        message,
        ApplyTarget(True, here.stable.entry, target.resource_version),
        requeue_seconds=SOON,
    )


def _restart(here: Pass) -> Decision:
    """The same release again: let it through, and hold again when it is complete."""
    target, entry = here.target, here.stable.entry
    if here.ledger.is_restarting and target.is_complete:
        here = here.with_ledger(is_restarting=False)
        return here.decide(
            Phase.IDLE,
            Reason.UP_TO_DATE,
            "The restart is complete; the target is held again.",
            ApplyTarget(True, entry, target.resource_version),
            requeue_seconds=SOON,
        )
    actions = [ApplyTarget(False, entry, target.resource_version)] if target.is_paused else []
    if not here.ledger.is_restarting:
        here = here.with_ledger(is_restarting=True).saying(
            Reason.RESTARTING, "A restart of the stable release is let through the hold."
        )
    return here.decide(
        Phase.PROMOTING,
        Reason.RESTARTING,
        f"The stable release restarts: {target.updated} of {target.replicas} pods are new.",
        *actions,
        requeue_seconds=2.0,
    )


def _is_rejected(here: Pass, wanted: Wanted) -> bool:
    rejected = here.ledger.rejected
    return rejected is not None and is_same(wanted, rejected)


def _rest(here: Pass, wanted: Wanted | None) -> Decision:
    ledger, problem = here.ledger, here.observed.problem or here.observed.cache.problem
    works = retire_works(ledger)
    if works:
        return _retire(here, wanted)
    kept = frozenset({here.stable.revision})
    drop = (DropSnapshots(kept),) if here.observed.snapshots - kept else ()
    if problem is not None and ledger.is_paused is False:
        return here.decide(
            _resting_phase(here, wanted),
            Reason(problem.reason),
            f"{here.stable.version} serves and is held. {problem.message}",
            RunWorks(),
            is_stalled=problem.reason in _HOPELESS,
            requeue_seconds=_RETRY_SECONDS,
        )
    reason, message = _resting_words(here, wanted)
    return here.decide(_resting_phase(here, wanted), reason, message, RunWorks(), *drop)


def _retire(here: Pass, wanted: Wanted | None) -> Decision:
    """Remove what is left of old versions; what serves is not in the list."""
    ledger = here.ledger
    (work,) = retire_works(ledger)
    facts = here.observed.cache.work(work.key)
    names = ", ".join(ledger.retiring)
    if facts is None or not facts.is_done:
        done = sum(family.done for family in facts.families) if facts else 0
        why = f" It waits: {facts.problem.message}" if facts and facts.problem else ""
        phase = Phase.ROLLING_BACK if wanted or ledger.rejected else Phase.RETIRING
        return here.decide(
            phase,
            Reason.RETIRING,
            f"{here.stable.version} serves; the keys of {names} are being removed: "
            f"{done:,} so far.{why}",
            RunWorks((work,)),
            requeue_seconds=1.0,
        )
    gone = sum(family.done for family in facts.families)
    note = f" {names}'s {gone:,} keys are gone."
    here = here.with_ledger(
        retiring=(),
        rejected_message=ledger.rejected_message and ledger.rejected_message + note,
        succeeded=ledger.succeeded and ledger.succeeded + note,
    )
    reason, message = _resting_words(here, wanted)
    if reason in (Reason.SUCCEEDED, Reason.REJECTED_REVISION_HELD, Reason.ROLLED_BACK):
        is_warning = reason is not Reason.SUCCEEDED
        event = Reason.SUCCEEDED if not is_warning else Reason.ROLLED_BACK
        here = here.saying(event, message, is_warning=is_warning)
    return here.decide(
        _resting_phase(here, wanted), reason, message, RunWorks(), requeue_seconds=SOON
    )


def _resting_phase(here: Pass, wanted: Wanted | None) -> Phase:
    if wanted is not None or here.ledger.rejected_message:
        return Phase.ROLLED_BACK
    return Phase.SUCCEEDED if here.ledger.succeeded else Phase.IDLE


def _resting_words(here: Pass, wanted: Wanted | None) -> tuple[Reason, str]:
    ledger = here.ledger
    if wanted is not None:
        return (
            Reason.REJECTED_REVISION_HELD,
            (
                f"{ledger.rejected_message} The target still asks for that release; it stays held "
                "until the template changes or somebody asks for a retry."
            ),
        )
    if ledger.rejected_message:
        return Reason.ROLLED_BACK, ledger.rejected_message
    if ledger.succeeded:
        return Reason.SUCCEEDED, ledger.succeeded
    return (
        Reason.UP_TO_DATE,
        f"{here.stable.version} is stable and held; the next release will be gated.",
    )


def _let_go(here: Pass) -> Decision:
    """At zero replicas nobody is served: the release needs no gate and becomes the stable one."""
    entry, target = here.stable.entry, here.target
    here = here.with_ledger(
        target_uid=None, stable=None, rejected=None, rejected_message="", succeeded=""
    )
    return here.decide(
        Phase.PENDING,
        Reason.TARGET_NOT_READY,
        "The target has no replicas, so there is nothing to protect: the new template is let "
        "through and held again once it runs.",
        ApplyTarget(False, entry, target.resource_version),
        requeue_seconds=SOON,
    )


def _start(here: Pass, wanted: Wanted) -> Decision:
    """Begin an attempt, unless the cache would make it pointless."""
    problem = here.observed.problem or here.observed.cache.problem
    name = wanted.version or "the next version"
    if problem is not None:
        return here.decide(
            Phase.PENDING,
            Reason(problem.reason),
            f"A release waits: {problem.message} {here.stable.version} keeps serving.",
            RunWorks(retire_works(here.ledger)),
            is_stalled=problem.reason in _HOPELESS,
            requeue_seconds=_RETRY_SECONDS,
        )
    if here.ledger.is_paused:
        return here.decide(
            Phase.PENDING,
            Reason.PAUSED_BY_REQUEST,
            f"A release waits: the rollout is paused by request. {here.stable.version} serves.",
            RunWorks(retire_works(here.ledger)),
        )
    if wanted.version in here.ledger.retiring:
        return here.decide(
            Phase.PENDING,
            Reason.RETIRING,
            f"The release asks for {name}, whose former keys are still being removed.",
            RunWorks(retire_works(here.ledger)),
            requeue_seconds=2.0,
        )
    version = wanted.version or next_version(here.ledger.versions, here.stable.version)
    is_shared = version == here.stable.version
    entry = here.stable.entry if is_shared else version
    release = Release(
        wanted.revision,
        version,
        entry=None if wanted.is_stated_by_template else entry,
        fingerprints=here.spec.fingerprints(),
    )
    attempt = Attempt(here.ledger.attempts + 1, release, started_at=round(here.now, 3))
    how = "sharing the stable namespace" if is_shared else f"from {here.stable.version}"
    here = here.with_ledger(
        attempt=attempt,
        attempts=attempt.number,
        versions=remember(here.ledger, version),
        rejected=None,
        rejected_reason="",
        rejected_message="",
        succeeded="",
    ).saying(
        Reason.RELEASE_FOUND,
        f"Attempt {attempt.number}: release {wanted.revision} is tried as {version}, {how}.",
    )
    return here.decide(
        Phase.WARMING,
        Reason.RELEASE_FOUND,
        f"A release was found; its canary starts as {version}, without traffic.",
        KeepSnapshot(release.revision),
        requeue_seconds=SOON,
    )
