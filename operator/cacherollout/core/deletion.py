"""The CacheRollout goes away: leave the target running what was judged, and nothing behind.

Bounded by a deadline, since a finalizer that waits for a dead cache would keep the namespace.
"""

from cacherollout.api.ledger import Ledger
from cacherollout.api.reasons import Phase, Reason
from cacherollout.core import announcing
from cacherollout.core.actions import (
    Action,
    FreeTarget,
    RemoveFinalizer,
    RestoreTarget,
    RetireWork,
    RunWorks,
)
from cacherollout.core.decisions import Decision
from cacherollout.core.facts import WorkFacts
from cacherollout.core.passes import Pass
from cacherollout.core.rollback import stop_traffic

DEADLINE_SECONDS = 60.0
"""Longest time that leftovers may keep the CacheRollout from going."""


def leave(here: Pass) -> Decision:
    """The next step of the farewell; the target is freed before the cache is cleaned."""
    if not here.observed.has_finalizer:
        return here.decide(Phase.PENDING, Reason.DELETING, "Gone.", RunWorks())
    here = _with_promoted_accepted(here)
    if here.ledger.deleting_since is None:
        here = here.with_ledger(deleting_since=round(here.now, 3)).saying(
            Reason.DELETING, "Deleting: the target goes back to its stable template."
        )
    stop, works = stop_traffic(here), announcing.run_works(here)
    freeing = _freeing(here)
    if stop or freeing:
        return _decide(here, "the target is being freed", *stop, *freeing, works)
    is_late = here.now - (here.ledger.deleting_since or here.now) >= DEADLINE_SECONDS
    versions = _leftovers(here.ledger)
    if not is_late and any(pod.is_canary or pod.version in versions for pod in here.observed.pods):
        return _decide(here, "pods of the release on trial are going away", works)
    work = RetireWork(versions)
    facts = here.observed.cache.work(work.key) if versions else WorkFacts("", is_done=True)
    if facts is not None and facts.is_done:
        if here.ledger.is_announcing and not is_late:
            return _take_back(here)
        return _decide(here, "done", RunWorks(), RemoveFinalizer())
    if is_late:
        names = ", ".join(versions)
        here = here.saying(
            Reason.CLEANUP_INCOMPLETE,
            f"Keys of {names} may be left in the cache: they could not be removed within "
            f"{DEADLINE_SECONDS:g} s. They expire with their TTL; remove by hand what has none.",
            is_warning=True,
        )
        return _decide(here, "the deadline passed", RunWorks(), RemoveFinalizer())
    return _decide(
        here,
        f"the keys of {', '.join(versions)} are being removed",
        announcing.run_works(here, work),
    )


def _with_promoted_accepted(here: Pass) -> Pass:
    """A release that was promoted serves everybody: it stays, and its predecessor goes."""
    attempt, ledger = here.ledger.attempt, here.ledger
    if attempt is None or attempt.promoted_at is None or attempt.abort is not None:
        return here
    retiring = ledger.retiring
    if ledger.stable is not None and ledger.stable.version != attempt.release.version:
        retiring = (*retiring, ledger.stable.version)
    return here.with_ledger(stable=attempt.release, attempt=None, retiring=retiring)


def _freeing(here: Pass) -> tuple[Action, ...]:
    """Put the stable template back where another one is pending, then give up every field."""
    target, stable = here.observed.target, here.ledger.stable
    if target is None or stable is None or target.uid != here.ledger.target_uid:
        return ()
    version = target.running_version or here.spec.cache.initial_version
    if target.revision != stable.revision or version != stable.version:
        return (
            RestoreTarget(
                stable.revision,
                stable.entry,
                is_paused=target.is_paused,
                resource_version=target.resource_version,
            ),
        )
    if target.is_paused or target.is_owned:
        return (FreeTarget(target.resource_version),)
    return ()


def _leftovers(ledger: Ledger) -> tuple[str, ...]:
    """Versions whose keys go with the CacheRollout; never the one that serves."""
    names = list(ledger.retiring)
    if ledger.attempt is not None:
        names.append(ledger.attempt.release.version)
    serving = ledger.stable.version if ledger.stable else None
    return tuple(dict.fromkeys(name for name in names if name != serving))


def _take_back(here: Pass) -> Decision:
    """Leave the serving version alone under the versions key: nothing else has pods or keys."""
    here = announcing.concluded(here.with_ledger(attempt=None, retiring=()))
    if here.ledger.is_announcing:
        works = announcing.run_works(here)
        return _decide(here, "the versions in use are published for the last time", works)
    return _decide(here, "done", RunWorks(), RemoveFinalizer())


def _decide(here: Pass, what: str, *actions: Action) -> Decision:
    return here.decide(
        Phase.ROLLING_BACK,
        Reason.DELETING,
        f"Being deleted: {what}.",
        *actions,
        requeue_seconds=1.0,
    )
