"""The policy: a ladder of rungs, the first that applies answers. Their order *is* the policy.

    deleted -> target missing or replaced -> something is not as it must be -> not adopted
    -> abort decided -> promoted: observe -> promotion decided: promote -> warm, judge, step
    -> nothing under way: start, restart or rest

Invariants, which the test oracle checks after every pass:
I1  the stable release never has fewer ready pods than before because of the operator
I2  no key of a version that serves or may be returned to is removed
I3  every ready pod runs the stable or the target version
I4  promotion only after a Pass of this very attempt, or a person's word
I5  phases move along the declared graph; observedGeneration never falls
I6  at most one canary per CacheRollout
I7  every write carries a resourceVersion, a UID or a field manager
I8  API calls per rollout and minute are bounded
I9  no secret's bytes in status, events, logs or annotations
I10 traffic never reaches a namespace below its warm target
I11 where versions are published, nothing is stored under one before every pod could know of it
"""

from dataclasses import replace

from cacherollout.api.ledger import MAX_TRANSITIONS, Ledger, Transition
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core import announcing, deletion, idling, promotion, requests, rollback, trial
from cacherollout.core.counting import count, side_of
from cacherollout.core.decisions import Decision
from cacherollout.core.facts import Observed
from cacherollout.core.gates import gather
from cacherollout.core.judging import judge
from cacherollout.core.passes import Pass


def decide(spec: CacheRolloutSpec, ledger: Ledger, observed: Observed, now: float) -> Decision:
    """What to remember, do and say, given the spec, the ledger and what was observed.

    Pure: the same arguments give the same decision. `now` is in seconds since the epoch.
    """
    here = _counted(Pass(spec, ledger, observed, now))
    decision = _ladder(here)
    decision = replace(decision, ledger=announcing.noted(spec, decision.ledger))
    return replace(decision, ledger=_with_transition(decision, ledger, now))


def needs_measurement(ledger: Ledger) -> bool:
    """Whether the next pass needs the pods' counters; an idle rollout costs no scrape."""
    return ledger.attempt is not None and ledger.attempt.abort is None


def _ladder(here: Pass) -> Decision:
    observed, ledger = here.observed, here.ledger
    # Going away comes first: it must succeed whatever else is wrong.
    if observed.is_deleting:
        return deletion.leave(here)
    # Without the Deployment that was adopted there is nothing to hold, and nothing to guess.
    if observed.target is None:
        return idling.report_missing_target(here)
    if ledger.target_uid not in (None, observed.target.uid):
        return idling.report_replaced_target(requests.take_readoption(here))
    # Before adoption everything must be in order: a hold that cannot lead anywhere only hurts.
    if ledger.stable is None:
        return idling.adopt(here)
    here = requests.take(here)
    # What was decided is carried through before anything new is looked at.
    if here.ledger.attempt is None:
        return idling.rest_or_start(here)
    if here.attempt.abort is not None:
        return rollback.undo(here)
    if here.attempt.promoted_at is not None:
        return promotion.observe(here)
    if here.attempt.promote_at is not None:
        return promotion.promote(here)
    return trial.advance(here)


def _counted(here: Pass) -> Pass:
    """The pass with the newest measurement in the ledger and every gate's finding."""
    attempt, stable = here.ledger.attempt, here.ledger.stable
    if attempt is None or stable is None or attempt.abort is not None:
        return here
    release = attempt.release
    new_side = side_of(
        here.observed.pods, release.revision, release.version, here.spec.cache.initial_version
    )
    serving = frozenset(pod.uid for pod in here.observed.pods if pod.is_ready)
    attempt, tick = count(attempt, here.observed.measurement, new_side, serving)
    began = attempt.traffic_since
    # A tick that reaches back before the admission holds replayed requests; one taken while the
    # cache itself is down blames nobody.
    is_evidence = (
        tick is not None
        and began is not None
        and (attempt.measured_at or 0.0) - tick.seconds >= began
        and here.observed.cache.problem is None
    )
    if tick is not None and is_evidence:
        attempt = gather(here.spec, attempt, tick)
    here = replace(here, ledger=replace(here.ledger, attempt=attempt))
    if began is None:
        return here
    return replace(here, findings=judge(here.spec, attempt, here.observed, stable, here.now))


def _with_transition(decision: Decision, before: Ledger, now: float) -> Ledger:
    """The ledger with the phase's entry noted; a new attempt starts a new list."""
    ledger = decision.ledger
    noted = ledger.transitions
    if ledger.attempts != before.attempts:
        noted = ()
    if noted and noted[-1].phase == decision.phase:
        return replace(ledger, transitions=noted)
    return replace(
        ledger,
        transitions=(*noted, Transition(decision.phase, round(now, 3)))[-MAX_TRANSITIONS:],
    )
