"""Nothing under way: adopt the target, start an attempt, let a restart through, or rest."""

from cacherollout.api.ledger import MAX_VERSIONS, Abort, Attempt, Ledger, Release
from cacherollout.api.reasons import Phase, Reason
from cacherollout.core import announcing
from cacherollout.core.actions import (
    AddFinalizer,
    DeleteCanary,
    DropSnapshots,
    KeepSnapshot,
    RetireWork,
    RunWorks,
)
from cacherollout.core.decisions import Decision
from cacherollout.core.facts import PodFacts
from cacherollout.core.passes import SOON, Pass
from cacherollout.core.rollback import stop_traffic
from cacherollout.core.versions import Wanted, is_same, is_usable, next_version, wanted_release

_RETRY_SECONDS = 15.0
_LOOK_SECONDS = 1.0
"""Time between two looks at something that is about to be over."""
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
        *stop_traffic(here),
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
        *stop_traffic(here),
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
    if not is_usable(version):
        return _refuse_version(here, version)
    is_ours = target.stated_version is None and target.running_version is not None
    stable = Release(
        target.revision,
        version,
        entry=version if is_ours else None,
        fingerprints=here.spec.fingerprints(),
    )
    here = here.with_ledger(
        target_uid=target.uid,
        stable=stable,
        versions=remember(here.ledger, version),
        retiring=tuple(name for name in here.ledger.retiring if name != version),
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
        here.apply_target(stable.entry, is_paused=True),
        requeue_seconds=SOON,
    )


def rest_or_start(here: Pass) -> Decision:
    """The hold, leftovers, a restart, a release: whatever is first on this list."""
    target, stable = here.target, here.stable
    if not here.observed.has_finalizer:
        here = here.also(AddFinalizer())
    if here.observed.canary is not None and here.observed.canary.is_ours:
        return here.decide(
            Phase.ROLLING_BACK,
            Reason.ROLLING_BACK,
            "A canary without an attempt is being removed.",
            DeleteCanary(here.observed.canary.uid),
            requeue_seconds=1.0,
        )
    # Somebody lifted the hold and a release that nobody judged began to reach users.
    leaked = strangers(here)
    if leaked:
        return _undo_leak(here, leaked)
    if here.ledger.is_restarting or (target.is_restart and target.revision == stable.revision):
        return _restart(here)
    wanted = wanted_release(here.spec, stable, target)
    is_new = wanted is not None and not _is_rejected(here, wanted)
    if wanted is not None and is_new and target.replicas == 0 and not here.ledger.is_paused:
        return _let_go(here, wanted)
    if stable.revision not in here.observed.snapshots and target.revision == stable.revision:
        here = here.also(KeepSnapshot(stable.revision))
    if not target.is_paused:
        here = here.also(here.apply_target(stable.entry, is_paused=True)).saying(
            Reason.DRIFT_CORRECTED, "The hold was not in place; it is back."
        )
    here, is_swept = _swept(here)
    if wanted is None or not is_new:
        return _rest(here, wanted, is_swept=is_swept)
    return _start(here, wanted)


def remember(ledger: Ledger, version: str) -> tuple[str, ...]:
    """Versions ever used, with this one as the newest."""
    return (*(name for name in ledger.versions if name != version), version)[-MAX_VERSIONS:]


def retire_works(here: Pass) -> tuple[RetireWork, ...]:
    """The work that removes what is left of versions that will not serve again.

    A version waits for its last pod, which could still read and write its keys.
    """
    initial = here.spec.cache.initial_version
    used = {pod.version or initial for pod in here.observed.pods}
    versions = tuple(name for name in here.ledger.retiring if name not in used)
    return (RetireWork(versions),) if versions else ()


def strangers(here: Pass) -> tuple[PodFacts, ...]:
    """Pods of the target that do not run the stable template and are not about to go."""
    return tuple(pod for pod in here.observed.target_pods() if pod.revision != here.stable.revision)


def _swept(here: Pass) -> tuple[Pass, bool]:
    """The pass without the versions whose keys are gone, and whether that were the last."""
    works = retire_works(here)
    facts = here.observed.cache.work(works[0].key) if works else None
    if facts is None or not facts.is_done:
        return here, False
    gone = sum(family.done for family in facts.families)
    note = f" {', '.join(works[0].versions)}'s {gone:,} keys are gone."
    ledger = here.ledger
    left = tuple(name for name in ledger.retiring if name not in works[0].versions)
    here = here.with_ledger(
        retiring=left,
        rejected_message=ledger.rejected_message and ledger.rejected_message + note,
        succeeded=ledger.succeeded and ledger.succeeded + note,
    )
    return here, not left


def _undo_leak(here: Pass, leaked_pods: tuple[PodFacts, ...]) -> Decision:
    target = here.target
    leaked = target.revision if target.revision != here.stable.revision else leaked_pods[0].revision
    message = (
        f"{len(leaked_pods)} pods of a release that was not judged were running: the hold had been "
        "lifted by somebody else."
    )
    attempt = Attempt(
        number=here.ledger.attempts + 1,
        release=Release(leaked, here.stable.version, entry=here.stable.entry),
        started_at=round(here.now, 3),
        promote_at=round(here.now, 3),
        pending_revision=target.revision if target.revision != here.stable.revision else None,
        pending_entry=here.entry_beside(here.stable.entry),
        abort=Abort(Reason.DRIFT_CORRECTED, message, round(here.now, 3), is_rejected=False),
    )
    here = here.with_ledger(attempt=attempt, attempts=attempt.number).saying(
        Reason.DRIFT_CORRECTED, message, is_warning=True
    )
    return here.decide(
        Phase.ROLLING_BACK,
        Reason.DRIFT_CORRECTED,
        message,
        here.apply_target(here.stable.entry, is_paused=True),
        requeue_seconds=SOON,
    )


def _restart(here: Pass) -> Decision:
    """The same release again: let it through, and hold again when it is complete."""
    target, entry = here.target, here.stable.entry
    if target.revision != here.stable.revision:
        here = here.with_ledger(is_restarting=False)
        return here.decide(
            Phase.PROMOTING,
            Reason.RELEASE_FOUND,
            "A release arrived during a restart; the target is held.",
            here.apply_target(entry, is_paused=True),
            requeue_seconds=SOON,
        )
    if here.ledger.is_restarting and target.is_complete:
        here = here.with_ledger(is_restarting=False)
        return here.decide(
            Phase.PROMOTING,
            Reason.RESTARTING,
            "The restart is complete; the target is held again.",
            here.apply_target(entry, is_paused=True),
            requeue_seconds=SOON,
        )
    go = (here.apply_target(entry, is_paused=False),) if target.is_paused else ()
    if not here.ledger.is_restarting:
        here = here.with_ledger(is_restarting=True).saying(
            Reason.RESTARTING, "A restart of the stable release is let through the hold."
        )
    return here.decide(
        Phase.PROMOTING,
        Reason.RESTARTING,
        f"The stable release restarts: {target.updated} of {target.replicas} pods are new.",
        *go,
        requeue_seconds=2.0,
    )


def _is_rejected(here: Pass, wanted: Wanted) -> bool:
    rejected = here.ledger.rejected
    return rejected is not None and is_same(wanted, rejected)


def _rest(here: Pass, wanted: Wanted | None, *, is_swept: bool) -> Decision:
    ledger, problem = here.ledger, here.observed.problem or here.observed.cache.problem
    if ledger.retiring:
        return _retire(here, wanted)
    here = announcing.concluded(here)
    phase = _resting_phase(here, wanted)
    reason, message = _resting_words(here, wanted)
    if is_swept:
        return _announce(here, phase, reason, message)
    kept = frozenset({here.stable.revision})
    drop = (DropSnapshots(kept),) if here.observed.snapshots - kept else ()
    if problem is not None and ledger.is_paused is False:
        return here.decide(
            phase,
            Reason(problem.reason),
            f"{here.stable.version} serves and is held. {problem.message}",
            announcing.run_works(here),
            is_stalled=problem.reason in _HOPELESS,
            requeue_seconds=_RETRY_SECONDS,
        )
    if not here.ledger.is_announcing:
        return here.decide(phase, reason, message, RunWorks(), *drop)
    trouble = announcing.trouble(here)
    if trouble:
        message = f"{message} Versions that are gone are still published: {trouble}."
    return here.decide(
        phase,
        reason,
        message,
        announcing.run_works(here),
        *drop,
        requeue_seconds=_RETRY_SECONDS if trouble else _LOOK_SECONDS,
    )


def _retire(here: Pass, wanted: Wanted | None) -> Decision:
    """Remove what is left of old versions; what serves is not in the list."""
    ledger, works = here.ledger, retire_works(here)
    facts = here.observed.cache.work(works[0].key) if works else None
    done = sum(family.done for family in facts.families) if facts else 0
    why = "" if works else " Their last pods are ending."
    if facts and facts.problem:
        why = f" It waits: {facts.problem.message}"
    return here.decide(
        Phase.ROLLING_BACK if wanted or ledger.rejected else Phase.RETIRING,
        Reason.RETIRING,
        f"{here.stable.version} serves; the keys of {', '.join(ledger.retiring)} are being "
        f"removed: {done:,} so far.{why}",
        announcing.run_works(here, *works),
        requeue_seconds=_LOOK_SECONDS,
    )


def _announce(here: Pass, phase: Phase, reason: Reason, message: str) -> Decision:
    """The end of a release: the last of its keys, or of its predecessor's, are gone."""
    if reason is Reason.SUCCEEDED:
        here = here.saying(Reason.SUCCEEDED, message)
    elif reason in (Reason.REJECTED_REVISION_HELD, Reason.ROLLED_BACK):
        here = here.saying(Reason.ROLLED_BACK, message, is_warning=True)
    works = announcing.run_works(here)
    return here.decide(phase, reason, message, works, requeue_seconds=SOON)


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


def _let_go(here: Pass, wanted: Wanted) -> Decision:
    """At zero replicas nobody is served: the release needs no gate, and is adopted once it runs.

    It gets its version all the same, since the old keys may mean something else to it.
    """
    target, stable, ledger = here.target, here.stable, here.ledger
    version = wanted.version or next_version(ledger.versions, stable.version)
    if not is_usable(version):
        return _refuse_version(here, version)
    message = (
        "The target has no replicas, so there is nothing to protect: the new template is let "
        "through and held again once it runs."
    )
    entry = stable.entry if version == stable.version else version
    if target.is_paused or target.running_version not in (version, entry):
        go = here.apply_target(entry, is_paused=False)
        return here.decide(Phase.PENDING, Reason.TARGET_NOT_READY, message, go, requeue_seconds=1.0)
    retiring = ledger.retiring
    if version != stable.version:
        retiring = (*retiring, stable.version)
    here = here.with_ledger(
        target_uid=None,
        stable=None,
        versions=remember(ledger, version),
        retiring=retiring,
        rejected=None,
        rejected_reason="",
        rejected_message="",
        succeeded="",
    )
    return here.decide(Phase.PENDING, Reason.TARGET_NOT_READY, message, requeue_seconds=SOON)


def _refuse_version(here: Pass, version: str) -> Decision:
    return here.decide(
        Phase.PENDING,
        Reason.INVALID_SPEC,
        f"{here.spec.cache.env} is {version[:40]!r} in the target's template. Write a version such "
        "as v3: at most 32 lower-case letters, digits, and '.', '_' and '-' inside.",
        is_stalled=True,
    )


def _start(here: Pass, wanted: Wanted) -> Decision:
    """Begin an attempt, unless the cache would make it pointless."""
    problem = here.observed.problem or here.observed.cache.problem
    name = wanted.version or "the next version"
    if wanted.version is not None and not is_usable(wanted.version):
        return _refuse_version(here, wanted.version)
    if problem is not None:
        return here.decide(
            Phase.PENDING,
            Reason(problem.reason),
            f"A release waits: {problem.message} {here.stable.version} keeps serving.",
            announcing.run_works(here, *retire_works(here)),
            is_stalled=problem.reason in _HOPELESS,
            requeue_seconds=_RETRY_SECONDS,
        )
    if here.ledger.is_paused:
        return here.decide(
            Phase.PENDING,
            Reason.PAUSED_BY_REQUEST,
            f"A release waits: the rollout is paused by request. {here.stable.version} serves.",
            announcing.run_works(here, *retire_works(here)),
        )
    if wanted.version in here.ledger.retiring:
        return here.decide(
            Phase.PENDING,
            Reason.RETIRING,
            f"The release asks for {name}, whose former keys are still being removed.",
            announcing.run_works(here, *retire_works(here)),
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
