"""An attempt before promotion: warm the namespace, admit the canary, judge it, step, decide."""

from cacherollout.api.ledger import Abort
from cacherollout.api.reasons import Phase, Reason
from cacherollout.core import rollback
from cacherollout.core.actions import (
    Action,
    ApplyCanary,
    ApplyTarget,
    DeleteCanary,
    KeepSnapshot,
    ReplayWork,
    RunWorks,
    SetAdmission,
    Work,
)
from cacherollout.core.counting import origin_ratio
from cacherollout.core.decisions import Decision
from cacherollout.core.facts import PodFacts
from cacherollout.core.gates import Finding, Verdict
from cacherollout.core.idling import retire_works
from cacherollout.core.judging import worst
from cacherollout.core.passes import SOON, Pass
from cacherollout.core.ramp import first_step, most, next_step
from cacherollout.core.versions import is_same, wanted_release
from cacherollout.core.warmup import is_waiting_for_baseline, is_warm, warm_works

HOLD_SECONDS = 300.0
"""Both sides may be bad together for this long before the release is undone."""
SILENCE_SECONDS = 30.0
"""Without a counted request on the canary for this long, there is no data."""
WARMING_SECONDS = 1.0
"""Time between two looks at the progress of the warm-up."""


def advance(here: Pass) -> Decision:
    """The next step of an attempt that has not been decided yet."""
    attempt, target = here.attempt, here.target
    wanted = wanted_release(here.spec, here.stable, target)
    if wanted is None or not is_same(wanted, attempt.release):
        return _abort(here, Reason.SUPERSEDED, "another release took its place", rejected=False)
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
    return here.decide(
        Phase.WARMING,
        Reason.NAME_CONFLICT,
        "A Deployment with the canary's name exists and is not ours. Rename or delete it; the "
        "release waits.",
        is_stalled=True,
        requeue_seconds=15.0,
    )


def _warm(here: Pass) -> Decision:
    """Start the canary and fill its namespace; it takes no traffic."""
    attempt, spec = here.attempt, here.spec
    works = warm_works(spec, attempt, here.stable, is_warming=True)
    size = first_step(spec, here.target.replicas)
    pods = here.observed.canary_pods()
    running = [pod for pod in pods if pod.are_containers_ready]
    waits = _waits(here, works, running, size)
    if not waits:
        return _admit_first(here, works, size)
    if _is_overdue(here, attempt.started_at):
        return _abort_warming(here, running, size)
    problem = here.observed.problem or here.observed.cache.problem
    reason = Reason.CANARY_STARTING if len(running) < size else Reason.WARMING_UP
    if problem is not None:
        reason = Reason(problem.reason)
    return here.decide(
        Phase.WARMING,
        reason,
        f"{attempt.release.version} gets no traffic yet: {'; '.join(waits)}.",
        *_upkeep(here, size, admitted=0),
        RunWorks((*works, *retire_works(here.ledger))),
        requeue_seconds=WARMING_SECONDS,
        next_=f"the first {size} of {here.target.replicas} pods, once it is warm",
    )


def _waits(here: Pass, works: tuple[Work, ...], running: list[PodFacts], size: int) -> list[str]:
    """What stands between the canary and its first request, in words."""
    waits = []
    if here.ledger.is_paused:
        waits.append("the rollout is paused by request")
    problem = here.observed.problem or here.observed.cache.problem
    if problem is not None:
        waits.append(problem.message.rstrip("."))
    if len(running) < size:
        trouble = next((pod.trouble for pod in here.observed.canary_pods() if pod.trouble), "")
        waits.append(f"{len(running)} of {size} canary pods run{trouble and f' ({trouble})'}")
    if is_waiting_for_baseline(here.spec, here.attempt, here.stable):
        waits.append("the origin's normal load is being measured")
    elif not is_warm(works, here.observed.cache):
        waits.append("its namespace is being filled")
    blocked = [
        work.problem.message.rstrip(".") for work in here.observed.cache.works if work.problem
    ]
    return [*waits, *blocked]


def _admit_first(here: Pass, works: tuple[Work, ...], size: int) -> Decision:
    version = here.attempt.release.version
    now = round(here.now, 3)
    here = here.with_attempt(
        warmed_at=now, traffic_since=now, admitted=size, admitted_at=now
    ).saying(Reason.CANARY_ADMITTED, f"{version} is warm; its first {size} pods take traffic.")
    return here.decide(
        Phase.ANALYZING,
        Reason.CANARY_ADMITTED,
        f"{version} is warm; its first {size} pods take traffic.",
        *_upkeep(here, size, admitted=size),
        RunWorks((*_kept(works), *retire_works(here.ledger))),
        requeue_seconds=here.pace_seconds,
    )


def _abort_warming(here: Pass, running: list[PodFacts], size: int) -> Decision:
    trouble = next((pod.trouble for pod in here.observed.canary_pods() if pod.trouble), "")
    if len(running) < size:
        return _abort(
            here,
            Reason.CANARY_NOT_READY,
            f"{len(running)} of {size} canary pods ran within the deadline of "
            f"{here.spec.deadline:g} s{trouble and f': {trouble}'}",
        )
    return _abort(
        here,
        Reason.DEADLINE_EXCEEDED,
        f"its namespace was not warm within the deadline of {here.spec.deadline:g} s",
    )


def _analyze(here: Pass) -> Decision:
    """Judge the canary under traffic; step, promote or undo."""
    attempt, spec = here.attempt, here.spec
    bad = worst(here.findings)
    if bad.verdict is Verdict.FAIL:
        return _abort(here, Reason.GATE_FAILED, f"{bad.gate}: {bad.message}")
    works = _kept(warm_works(spec, attempt, here.stable, is_warming=True))
    blocked = blocking(here, bad)
    if blocked is not None:
        return _hold(here, works, *blocked)
    here = here.with_attempt(hold_since=None)
    stable_pods = here.target.replicas
    here, waiting = _step(here, stable_pods)
    attempt = here.attempt
    soak_left = (attempt.traffic_since or here.now) + spec.soak - here.now
    undecided = [item for item in here.findings if item.verdict is Verdict.UNDECIDED]
    if soak_left <= 0 and not undecided:
        return _promote(here)
    if soak_left <= 0 and _is_overdue(here, attempt.traffic_since):
        names = ", ".join(item.gate for item in undecided)
        return _abort(
            here,
            Reason.DEADLINE_EXCEEDED,
            f"{names} had no verdict within the deadline of {spec.deadline:g} s; send more "
            "traffic, widen the targets, or lengthen spec.deadline",
        )
    return here.decide(
        Phase.ANALYZING,
        Reason.ANALYZING,
        analysis_sentence(here),
        *_upkeep(here, max(attempt.admitted, 1), admitted=attempt.admitted),
        RunWorks((*works, *retire_works(here.ledger))),
        requeue_seconds=here.pace_seconds,
        next_=_next_words(waiting, soak_left, undecided),
    )


def _step(here: Pass, stable_pods: int) -> tuple[Pass, str]:
    """Admit one more pod where the origin can bear it."""
    attempt = here.attempt
    ready = sum(1 for pod in here.observed.canary_pods() if pod.is_ready)
    if ready < attempt.admitted:
        return here, "the admitted pods become ready"
    step = next_step(here.spec, attempt, stable_pods, here.now)
    if step.admitted == attempt.admitted:
        return here, step.waiting_for
    here = here.with_attempt(admitted=step.admitted, admitted_at=round(here.now, 3)).saying(
        Reason.CANARY_ADMITTED,
        f"{step.admitted} canary pods of {attempt.release.version} may take traffic.",
    )
    return here, ""


def _promote(here: Pass) -> Decision:
    version = here.attempt.release.version
    here = here.with_attempt(promote_at=round(here.now, 3)).saying(
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
    problem = here.observed.problem or here.observed.cache.problem
    if problem is not None:
        return Reason(problem.reason), problem.message
    if bad.verdict is Verdict.HOLD:
        return Reason.GATE_HOLD, f"{bad.gate}: {bad.message}"
    measured = here.observed.measurement
    if measured is not None and measured.problem is not None and not measured.pods:
        return Reason.METRICS_UNAVAILABLE, measured.problem.message
    since = max(here.attempt.data_since or 0.0, here.attempt.traffic_since or 0.0)
    if here.now - since > max(SILENCE_SECONDS, 3 * here.spec.metrics.interval):
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
    if attempt.hold_since is None:
        is_quiet = reason is Reason.PAUSED_BY_REQUEST
        here = here.with_attempt(hold_since=round(here.now, 3))
        here = here if is_quiet else here.saying(reason, message, is_warning=True)
    held = here.now - (here.attempt.hold_since or here.now)
    if reason is Reason.GATE_HOLD and held >= HOLD_SECONDS:
        return _abort(
            here,
            Reason.SHARED_DEPENDENCY_DEGRADED,
            f"both versions stayed bad for {held:.0f} s ({message})",
            rejected=False,
        )
    return here.decide(
        Phase.ANALYZING,
        reason,
        f"Held at {attempt.admitted} canary pods. {message}",
        *_upkeep(here, max(attempt.admitted, 1), admitted=attempt.admitted),
        RunWorks((*works, *retire_works(here.ledger))),
        requeue_seconds=here.pace_seconds,
        next_="the rollout goes on by itself when this is over",
    )


def _abort(here: Pass, reason: Reason, message: str, *, rejected: bool = True) -> Decision:
    """Remember the decision, and act on it in the same pass."""
    here = here.with_attempt(abort=Abort(reason, message, round(here.now, 3), is_rejected=rejected))
    return rollback.undo(here)


def _upkeep(here: Pass, size: int, admitted: int) -> tuple[Action, ...]:
    """What must be so while an attempt lasts: the hold, the canary, its admission."""
    attempt, target, canary = here.attempt, here.target, here.observed.canary
    release = attempt.release
    actions: list[Action] = []
    if not target.is_paused:
        actions.append(ApplyTarget(True, here.stable.entry, target.resource_version))
    if release.revision not in here.observed.snapshots:
        actions.append(KeepSnapshot(release.revision))
    size = min(max(size, 1), max(most(here.spec, target.replicas), 1))
    if canary is None or canary.replicas != size:
        actions.append(ApplyCanary(release.revision, release.version, attempt.number, size))
    admission = _admission(here.observed.canary_pods(), admitted)
    return (*actions, admission) if admission is not None else tuple(actions)


def _admission(pods: tuple[PodFacts, ...], admitted: int) -> SetAdmission | None:
    """Open the gates of the pods that may take traffic, and close every other."""
    fit = [pod for pod in pods if pod.are_containers_ready]
    chosen = {
        pod.name for pod in sorted(fit, key=lambda pod: (not pod.is_admitted, pod.name))[:admitted]
    }
    opened = tuple(sorted(pod.name for pod in fit if pod.name in chosen and not pod.is_admitted))
    closed = tuple(sorted(pod.name for pod in pods if pod.name not in chosen and pod.is_admitted))
    return SetAdmission(opened, closed) if opened or closed else None


def _kept(works: tuple[Work, ...]) -> tuple[Work, ...]:
    """Works that go on under traffic: a copy stays done, replaying has had its time."""
    return tuple(work for work in works if not isinstance(work, ReplayWork))


def _is_overdue(here: Pass, since: float | None) -> bool:
    """Whether the deadline passed, not counting what the release did not cause."""
    problem = here.observed.problem or here.observed.cache.problem
    if since is None or problem is not None or here.ledger.is_paused:
        return False
    return here.now - since > here.spec.deadline


def analysis_sentence(here: Pass) -> str:
    """Where the analysis stands, in one sentence."""
    attempt = here.attempt
    passed = sum(1 for item in here.findings if item.verdict <= Verdict.PASS)
    ratio = origin_ratio(attempt)
    load = f"; origin at {ratio:.2f}× of its normal load" if ratio is not None else ""
    return (
        f"{attempt.release.version} takes traffic on {attempt.admitted} pods; "
        f"{passed} of {len(here.findings)} gates are satisfied{load}."
    )


def _next_words(waiting: str, soak_left: float, undecided: list[Finding]) -> str:
    parts = [waiting] if waiting else []
    if soak_left > 0:
        parts.append(f"promotion after the soak, in {soak_left:.0f} s at the earliest")
    elif undecided:
        etas = [item.eta_seconds for item in undecided if item.eta_seconds is not None]
        when = f" in about {max(etas):.0f} s" if etas else ""
        parts.append(f"a verdict on {', '.join(item.gate for item in undecided)}{when}")
    return "; ".join(parts)
