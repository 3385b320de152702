"""An attempt before promotion: warm the namespace, admit the canary, judge it, step, decide."""

from cacherollout.api.reasons import Phase, Reason
from cacherollout.core import announcing, holds, rollback
from cacherollout.core.actions import (
    Action,
    ApplyCanary,
    DeleteCanary,
    KeepSnapshot,
    ReplayWork,
    SetAdmission,
    Work,
)
from cacherollout.core.counting import origin_ratio
from cacherollout.core.decisions import Decision
from cacherollout.core.facts import CacheFacts, PodFacts
from cacherollout.core.gates import Finding, Verdict
from cacherollout.core.idling import retire_works, strangers
from cacherollout.core.judging import worst
from cacherollout.core.passes import SOON, Pass, number_of_pods
from cacherollout.core.ramp import first_step, most, next_step
from cacherollout.core.versions import is_same, wanted_release
from cacherollout.core.warmup import (
    is_stable_failing,
    is_waiting_for_baseline,
    is_warm,
    warm_works,
)

SILENCE_SECONDS = 30.0
"""Without a counted request on the canary for this long, there is no data."""
WARMING_SECONDS = 1.0
"""Time between two looks at the progress of the warm-up."""
_UNHEARD = "every pod is being told of the versions in use"


def advance(here: Pass) -> Decision:
    """The next step of an attempt that has not been decided yet."""
    attempt, target = here.attempt, here.target
    wanted = wanted_release(here.spec, here.stable, target)
    if wanted is None or not is_same(wanted, attempt.release):
        return rollback.abort(
            here, Reason.SUPERSEDED, "another release took its place", rejected=False
        )
    if here.spec.fingerprints() != attempt.release.fingerprints:
        # What was copied may mean something else now: a fresh namespace, from the start.
        return rollback.abort(
            here, Reason.SUPERSEDED, "the schema of a family changed", rejected=False
        )
    if target.replicas == 0:
        return rollback.abort(
            here, Reason.TARGET_NOT_READY, "the target was scaled to zero", rejected=False
        )
    if strangers(here):
        return _abort_leaked(here)
    canary = here.observed.canary
    if canary is not None and not canary.is_ours:
        return _name_conflict(here)
    if canary is not None and canary.attempt != attempt.number:
        return here.decide(
            Phase.WARMING,
            Reason.CANARY_STARTING,
            "The canary of an earlier attempt is going away.",
            DeleteCanary(canary.uid),
            requeue_seconds=1.0,
        )
    if attempt.traffic_since is None:
        return _warm(here)
    return _analyze(here)


def _name_conflict(here: Pass) -> Decision:
    message = (
        "A Deployment with the canary's name exists and is not ours. Rename or delete it; the "
        "release waits."
    )
    return holds.note(here, (Reason.NAME_CONFLICT, message)).decide(
        Phase.WARMING,
        Reason.NAME_CONFLICT,
        message,
        is_stalled=True,
        requeue_seconds=15.0,
    )


def _warm(here: Pass) -> Decision:
    """Start the canary and fill its namespace; it takes no traffic."""
    attempt, spec = here.attempt, here.spec
    is_heard = announcing.is_heard(here)
    if not is_heard and here.observed.canary is None:
        return _announce(here)
    works = warm_works(spec, attempt, here.stable, is_warming=True)
    if not is_heard:
        works = _kept(works)  # nothing is filled that a pod may not know how to delete
    size = first_step(spec, here.target.replicas)
    pods = here.observed.canary_pods()
    running = [pod for pod in pods if _is_fit(here, pod)]
    waits = _waits(here, works, running, size)
    if not is_heard:
        waits.insert(0, _UNHEARD)
    if not waits:
        return _admit_first(here, works, size)
    blocked = _warming_hold(here)
    here = holds.note(here, blocked)
    if blocked is None and holds.is_overdue(here, attempt.started_at):
        return _abort_warming(here, running, size)
    reason = Reason.CANARY_STARTING if len(running) < size else Reason.WARMING_UP
    if blocked is not None:
        reason = blocked[0]
        waits = list(dict.fromkeys((*waits, _clause(blocked[1]))))
    return here.decide(
        Phase.WARMING,
        reason,
        f"{attempt.release.version} gets no traffic yet: {'; '.join(waits)}.",
        *_upkeep(here, size, admitted=0),
        announcing.run_works(here, *works, *retire_works(here)),
        requeue_seconds=WARMING_SECONDS,
        next_=f"the first {size} of {here.target.replicas} pods, once it is warm",
        is_stalled=holds.is_stuck(here),
    )


def _announce(here: Pass) -> Decision:
    """Let every pod learn of the new version before anything is stored under it."""
    attempt = here.attempt
    blocked = _warming_hold(here)
    here = holds.note(here, blocked)
    trouble = announcing.trouble(here)
    if blocked is None and holds.is_overdue(here, attempt.started_at):
        return rollback.abort(
            here,
            Reason.DEADLINE_EXCEEDED,
            "the versions in use could not be published within the deadline of "
            f"{here.spec.deadline:g} s{trouble and f': {trouble}'}",
        )
    waits = dict.fromkeys((_UNHEARD, *([_clause(blocked[1])] if blocked else []), trouble))
    return here.decide(
        Phase.WARMING,
        blocked[0] if blocked else Reason.WARMING_UP,
        f"{attempt.release.version} gets no traffic yet: {'; '.join(filter(None, waits))}.",
        *_held(here),
        *_kept_template(here),
        announcing.run_works(here, *retire_works(here)),
        requeue_seconds=WARMING_SECONDS,
        next_=f"{attempt.release.version} is filled, once every pod deletes under it too",
        is_stalled=holds.is_stuck(here),
    )


def _warming_hold(here: Pass) -> tuple[Reason, str] | None:
    """What keeps the namespace from filling though the release is not to blame."""
    problem = here.observed.problem or here.observed.cache.problem
    if problem is not None:
        return Reason(problem.reason), problem.message
    if here.ledger.is_paused:
        return Reason.PAUSED_BY_REQUEST, "The rollout is paused by request."
    if is_stable_failing(here.spec, here.attempt):
        return Reason.GATE_HOLD, _failing(here)
    measured = here.observed.measurement
    if measured is None or not is_waiting_for_baseline(here.attempt):
        return None
    if measured.problem is not None and not measured.pods:
        return Reason.METRICS_UNAVAILABLE, measured.problem.message
    is_silent = here.now - here.attempt.started_at > _silence_seconds(here)
    if is_silent and here.attempt.stable_traffic.requests <= 0:
        path = here.spec.metrics.path
        return Reason.NO_DATA, (
            "There is no traffic to measure the origin's normal load by; is there any, and do the "
            f"pods expose http_requests_total at {path}?"
        )
    return None


def _failing(here: Pass) -> str:
    """Why nothing is begun on top of what users meet already, in words."""
    seen = here.attempt.stable_traffic
    share = 100 * seen.failures / seen.requests
    return f"The stable version, {here.stable.version}, answers {share:.1f} % of requests with 5xx."


def _clause(sentence: str) -> str:
    """A sentence as a part of another one."""
    first, rest = sentence[:4], sentence[4:].rstrip(".")
    return first.replace("The ", "the ") + rest


def _silence_seconds(here: Pass) -> float:
    return max(SILENCE_SECONDS, 3 * here.spec.metrics.interval)


def _waits(here: Pass, works: tuple[Work, ...], running: list[PodFacts], size: int) -> list[str]:
    """What stands between the canary and its first request, in words."""
    waits = []
    if here.ledger.is_paused:
        waits.append("the rollout is paused by request")
    problem = here.observed.problem or here.observed.cache.problem
    if problem is not None:
        waits.append(_clause(problem.message))
    if len(running) < size:
        trouble = next((pod.trouble for pod in here.observed.canary_pods() if pod.trouble), "")
        waits.append(f"{len(running)} of {size} canary pods run{trouble and f' ({trouble})'}")
    if is_waiting_for_baseline(here.attempt):
        waits.append("the origin's normal load is being measured")
    if not is_warm(works, here.observed.cache):
        waits.append("its namespace is being filled")
    if is_stable_failing(here.spec, here.attempt):
        waits.append(_clause(_failing(here)))
    blocked = [
        work.problem.message.rstrip(".") for work in here.observed.cache.works if work.problem
    ]
    return [*waits, *blocked]


def _admit_first(here: Pass, works: tuple[Work, ...], size: int) -> Decision:
    version = here.attempt.release.version
    now = round(here.now, 3)
    here = here.with_attempt(
        warmed_at=now, traffic_since=now, admitted=size, admitted_at=now, **holds.FRESH
    ).saying(
        Reason.CANARY_ADMITTED,
        f"{version} is warm; its first {number_of_pods(size)} may take traffic.",
    )
    return here.decide(
        Phase.ANALYZING,
        Reason.CANARY_ADMITTED,
        f"{version} is warm; its first {number_of_pods(size)} may take traffic.",
        *_upkeep(here, size, admitted=size),
        announcing.run_works(here, *_kept(works), *retire_works(here)),
        requeue_seconds=here.pace_seconds,
    )


def _abort_warming(here: Pass, running: list[PodFacts], size: int) -> Decision:
    trouble = next((pod.trouble for pod in here.observed.canary_pods() if pod.trouble), "")
    if len(running) < size:
        return rollback.abort(
            here,
            Reason.CANARY_NOT_READY,
            f"{len(running)} of {size} canary pods ran within the deadline of "
            f"{here.spec.deadline:g} s{trouble and f': {trouble}'}",
        )
    return rollback.abort(
        here,
        Reason.DEADLINE_EXCEEDED,
        f"its namespace was not warm within the deadline of {here.spec.deadline:g} s",
    )


def _analyze(here: Pass) -> Decision:
    """Judge the canary under traffic; step, promote or undo."""
    spec, stable_pods = here.spec, here.target.replicas
    bad = worst(here.findings)
    if bad.verdict is Verdict.FAIL:
        return rollback.abort(here, Reason.GATE_FAILED, f"{bad.gate}: {bad.message}")
    # The target may have shrunk since the last step.
    here = here.with_attempt(admitted=min(here.attempt.admitted, most(spec, stable_pods)))
    works = _kept(warm_works(spec, here.attempt, here.stable, is_warming=True))
    blocked = sick(here, bad) or _starting(here) or quiet(here)
    here = holds.note(here, blocked)
    if blocked is not None:
        return _hold(here, works, *blocked)
    here, waiting = _step(here, works, stable_pods)
    attempt = here.attempt
    soak_left = (attempt.traffic_since or here.now) + spec.soak - here.now
    undecided = [item for item in here.findings if item.verdict > Verdict.PASS]
    if soak_left <= 0 and not undecided:
        return _promote(here)
    if soak_left <= 0 and holds.is_overdue(here, attempt.traffic_since or here.now):
        names = ", ".join(item.gate for item in undecided)
        return rollback.abort(
            here,
            Reason.DEADLINE_EXCEEDED,
            f"{names} had no verdict within the deadline of {spec.deadline:g} s; send more "
            "traffic, widen the targets, or lengthen spec.deadline",
        )
    return here.decide(
        Phase.ANALYZING,
        Reason.ANALYZING,
        analysis_sentence(here),
        *_upkeep(here, attempt.admitted, attempt.admitted, is_open=is_warm(works, _cache(here))),
        announcing.run_works(here, *works, *retire_works(here)),
        requeue_seconds=here.pace_seconds,
        next_=_next_words(waiting, soak_left, undecided),
    )


def _step(here: Pass, works: tuple[Work, ...], stable_pods: int) -> tuple[Pass, str]:
    """Admit one more pod where the origin can bear it."""
    attempt = here.attempt
    if not is_warm(works, _cache(here)):
        # Only after a restart of the operator, whose works then begin again.
        return here, "the copies are being made sure of"
    step = next_step(here.spec, attempt, stable_pods, here.now)
    if step.admitted == attempt.admitted:
        return here, step.waiting_for
    here = here.with_attempt(admitted=step.admitted, admitted_at=round(here.now, 3)).saying(
        Reason.CANARY_ADMITTED,
        f"{number_of_pods(step.admitted, 'canary')} of {attempt.release.version} may take traffic.",
    )
    return here, ""


def _promote(here: Pass) -> Decision:
    version = here.attempt.release.version
    here = here.with_attempt(promote_at=round(here.now, 3), **holds.FRESH).saying(
        Reason.PROMOTION_STARTED,
        f"Every gate passed: {version} is promoted by the target's own rolling update.",
    )
    return here.decide(
        Phase.PROMOTING,
        Reason.PROMOTION_STARTED,
        f"Every gate passed; {version} is being promoted.",
        requeue_seconds=SOON,
    )


def blocking(here: Pass, bad: Finding) -> tuple[Reason, str] | None:
    """Why no step may be taken now though nothing failed; None where one may."""
    return sick(here, bad) or quiet(here)


def sick(here: Pass, bad: Finding) -> tuple[Reason, str] | None:
    """The environment is not well, whatever the release does."""
    problem = here.observed.problem or here.observed.cache.problem
    if problem is not None:
        return Reason(problem.reason), problem.message
    if bad.verdict is Verdict.HOLD:
        return Reason.GATE_HOLD, f"{bad.gate}: {bad.message}"
    return None


def _starting(here: Pass) -> tuple[Reason, str] | None:
    """Pods that may take traffic do not run."""
    pods, admitted = here.observed.canary_pods(), here.attempt.admitted
    running = sum(1 for pod in pods if _is_fit(here, pod))
    if running >= admitted:
        return None
    trouble = next((pod.trouble for pod in pods if pod.trouble), "")
    return (
        Reason.CANARY_STARTING,
        f"{running} of {admitted} canary pods run{trouble and f' ({trouble})'}.",
    )


def quiet(here: Pass) -> tuple[Reason, str] | None:
    """There is nothing to judge by, or nobody who may go on."""
    measured = here.observed.measurement
    if measured is not None and measured.problem is not None and not measured.pods:
        return Reason.METRICS_UNAVAILABLE, measured.problem.message
    since = max(here.attempt.data_since or 0.0, here.attempt.traffic_since or 0.0)
    if here.now - since > _silence_seconds(here):
        detail = (
            measured.problem.message
            if measured and measured.problem
            else (
                "no request was counted on its pods; is there traffic, and do they expose "
                f"http_requests_total at {here.spec.metrics.path}?"
            )
        )
        return (
            Reason.NO_DATA,
            f"There is nothing to judge {here.attempt.release.version} by: {detail}",
        )
    coherence = here.observed.cache.coherence
    if coherence is not None and not coherence.is_coherent:
        return (
            Reason.CACHE_UNAVAILABLE,
            "The mirror between the two versions lost its connection and is being repaired.",
        )
    if here.ledger.is_paused:
        return Reason.PAUSED_BY_REQUEST, "The rollout is paused by request."
    return None


def _hold(here: Pass, works: tuple[Work, ...], reason: Reason, message: str) -> Decision:
    """Stay exactly here: neither promoted nor undone for what the release did not cause."""
    attempt = here.attempt
    if holds.is_too_sick(here):
        return rollback.abort(here, Reason.SHARED_DEPENDENCY_DEGRADED, sickness(here, message))
    if reason is Reason.CANARY_STARTING and holds.is_overdue(
        here, attempt.traffic_since or here.now
    ):
        return rollback.abort(here, Reason.CANARY_NOT_READY, message.rstrip("."))
    return here.decide(
        Phase.ANALYZING,
        reason,
        f"Held at {number_of_pods(attempt.admitted, 'canary')}. {message}",
        *_upkeep(here, attempt.admitted, attempt.admitted, is_open=is_warm(works, _cache(here))),
        announcing.run_works(here, *works, *retire_works(here)),
        requeue_seconds=here.pace_seconds,
        next_="the rollout goes on by itself when this is over",
        is_stalled=holds.is_stuck(here),
    )


def sickness(here: Pass, message: str) -> str:
    """Why a release that is not to blame is given up."""
    return f"both versions stayed bad for {holds.held_seconds(here):.0f} s ({message})"


def _abort_leaked(here: Pass) -> Decision:
    """Somebody lifted the hold, and pods that nobody judged serve: back, then once more, held."""
    target, stable = here.target, here.stable
    is_pending = target.revision != stable.revision
    here = here.with_attempt(
        promote_at=round(here.now, 3),
        pending_revision=target.revision if is_pending else None,
        pending_entry=here.entry_beside(stable.entry),
    )
    return rollback.abort(
        here, Reason.DRIFT_CORRECTED, "somebody else lifted the hold", rejected=False
    )


def _upkeep(here: Pass, size: int, admitted: int, *, is_open: bool = True) -> tuple[Action, ...]:
    """What must be so while an attempt lasts: the hold, the canary, its admission.

    `is_open` False admits no more pods than there are.
    """
    return (*_held(here), *crew(here, size, admitted, is_open=is_open))


def _held(here: Pass) -> tuple[Action, ...]:
    if here.target.is_paused:
        return ()
    return (here.apply_target(here.stable.entry, is_paused=True),)


def _kept_template(here: Pass) -> tuple[Action, ...]:
    revision = here.attempt.release.revision
    return () if revision in here.observed.snapshots else (KeepSnapshot(revision),)


def crew(here: Pass, size: int, admitted: int, *, is_open: bool) -> tuple[Action, ...]:
    """Keep the canary at its size, and its gates as they must be."""
    attempt, canary = here.attempt, here.observed.canary
    release = attempt.release
    actions: list[Action] = [*_kept_template(here)]
    if canary is None or canary.replicas != size:
        actions.append(ApplyCanary(release.revision, release.version, attempt.number, size))
    admission = _admission(here, admitted, is_open=is_open)
    return (*actions, admission) if admission is not None else tuple(actions)


def _is_fit(here: Pass, pod: PodFacts) -> bool:
    """Whether a canary pod runs, and runs what is on trial."""
    return pod.are_containers_ready and pod.version == here.attempt.release.version


def _admission(here: Pass, admitted: int, *, is_open: bool) -> SetAdmission | None:
    """Open the gates of the pods that may take traffic, and close every other."""
    pods = here.observed.canary_pods()
    fit = [pod for pod in pods if _is_fit(here, pod) and (is_open or pod.is_admitted)]
    chosen = {
        pod.name for pod in sorted(fit, key=lambda pod: (not pod.is_admitted, pod.name))[:admitted]
    }
    opened = tuple(sorted(pod.name for pod in fit if pod.name in chosen and not pod.is_admitted))
    closed = tuple(sorted(pod.name for pod in pods if pod.name not in chosen and pod.is_admitted))
    return SetAdmission(opened, closed) if opened or closed else None


def _kept(works: tuple[Work, ...]) -> tuple[Work, ...]:
    """Works that go on under traffic: a copy stays done, replaying has had its time."""
    return tuple(work for work in works if not isinstance(work, ReplayWork))


def _cache(here: Pass) -> CacheFacts:
    return here.observed.cache


def analysis_sentence(here: Pass) -> str:
    """Where the analysis stands, in one sentence."""
    attempt = here.attempt
    passed = sum(1 for item in here.findings if item.verdict <= Verdict.PASS)
    ratio = origin_ratio(attempt)
    load = f"; origin at {ratio:.2f}× of its normal load" if ratio is not None else ""
    return (
        f"{attempt.release.version} takes traffic on {number_of_pods(attempt.admitted)}; "
        f"{passed} of {len(here.findings)} gates are satisfied{load}."
    )


def _next_words(waiting: str, soak_left: float, undecided: list[Finding]) -> str:
    parts = [waiting] if waiting else []
    if soak_left > 0:
        parts.append(f"promotion after the soak, in {soak_left:.0f} s at the earliest")
    else:
        etas = [item.eta_seconds for item in undecided if item.eta_seconds is not None]
        when = f" in about {max(etas):.0f} s" if etas else ""
        parts.append(f"a verdict on {', '.join(item.gate for item in undecided)}{when}")
    return "; ".join(parts)
