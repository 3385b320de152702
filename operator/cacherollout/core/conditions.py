"""The whole status that people read, made from one decision.

Pure, like the decision: the same state gives the same status, so a steady state writes nothing.
Numbers are rounded here to what a reader can use. A condition keeps its transition time for as long
as its status stays the same.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cacherollout.api.ledger import Attempt, Ledger, Traffic, dump_ledger
from cacherollout.api.reasons import ConditionType, Phase, Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.api.status import (
    MAX_MESSAGE,
    CacheRolloutStatus,
    CacheStatus,
    Condition,
    FamilyWarmth,
    GateStatus,
    OriginStatus,
    PhaseTime,
    SideStatus,
    VersionStatus,
    WarmStatus,
)
from cacherollout.core.actions import CopyWork, ReplayWork
from cacherollout.core.counting import hit_rate, origin_ratio
from cacherollout.core.decisions import Decision
from cacherollout.core.facts import FamilyProgress, Observed, PodFacts, WorkFacts
from cacherollout.core.judging import judgements
from cacherollout.core.warmup import plan_families, warm_works

_BUSY = frozenset(
    {
        Phase.WARMING,
        Phase.ANALYZING,
        Phase.PROMOTING,
        Phase.OBSERVING,
        Phase.ROLLING_BACK,
        Phase.RETIRING,
    }
)


def report(
    spec: CacheRolloutSpec,
    decision: Decision,
    observed: Observed,
    previous: Mapping[str, Any],
    now: float,
    generation: int,
) -> dict[str, Any]:
    """The status to store, as JSON; equal to `previous` where nothing changed."""
    ledger = decision.ledger
    attempt = ledger.attempt
    status = CacheRolloutStatus(
        phase=decision.phase,
        message=_cut(decision.message),
        observed_generation=generation,
        versions=_versions(ledger),
        attempt=ledger.attempts,
        next=_cut(decision.next),
        stable=_stable_side(ledger, observed),
        target=_target_side(ledger, observed),
        weight_percent=_weight(observed) if attempt else None,
        warm=_warm(spec, ledger, observed),
        gates=_gates(decision),
        origin=_origin(spec, attempt),
        cache=_cache(ledger, observed),
        timeline=[PhaseTime(phase=t.phase, at=_moment(t.at)) for t in ledger.transitions],
        ledger=dump_ledger(ledger),
        conditions=conditions(decision, observed, previous, now, generation),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _gates(decision: Decision) -> list[GateStatus]:
    """What the gates say now; while a release is being undone and after it, what they said then."""
    said = judgements(decision.findings)
    if not said and decision.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        past = decision.ledger.attempt or decision.ledger.undone
        said = past.abort.judgements if past and past.abort else ()
    etas = {item.gate: _whole(item.eta_seconds) for item in decision.findings}
    return [
        GateStatus(
            name=item.gate,
            verdict=item.verdict,
            value=item.value,
            target=item.target,
            evidence=f"{item.evidence * 100:.0f} %",
            eta_seconds=etas.get(item.gate),
            message=_cut(item.message),
        )
        for item in said
    ]


def conditions(
    decision: Decision,
    observed: Observed,
    previous: Mapping[str, Any],
    now: float,
    generation: int,
) -> list[Condition]:
    """Every condition, each with the time its status last changed."""
    old = {item.get("type"): item for item in previous.get("conditions", [])}
    listed = []
    for kind, status, reason, message in _aspects(decision, observed):
        known = old.get(kind.value, {})
        since = known.get("lastTransitionTime") if known.get("status") == status else None
        listed.append(
            Condition(
                type=kind.value,
                status=status,
                reason=reason,
                message=_cut(message),
                last_transition_time=since or _moment(now),
                observed_generation=generation,
            )
        )
    return listed


def _aspects(
    decision: Decision, observed: Observed
) -> list[tuple[ConditionType, str, Reason, str]]:
    phase, reason, message = decision.phase, decision.reason, decision.message
    attempt = decision.ledger.attempt
    is_busy = phase in _BUSY
    is_well = phase in (Phase.IDLE, Phase.SUCCEEDED, Phase.ROLLED_BACK) and not decision.is_stalled
    is_held = observed.target is not None and observed.target.is_paused
    is_warmed = attempt is not None and attempt.warmed_at is not None
    is_promoted = (attempt is not None and attempt.promoted_at is not None) or (
        attempt is None and bool(decision.ledger.succeeded)
    )
    return [
        (ConditionType.READY, _truth(is_well), reason, message),
        (ConditionType.RECONCILING, _truth(is_busy and not decision.is_stalled), reason, message),
        (ConditionType.STALLED, _truth(decision.is_stalled), reason, message),
        (
            ConditionType.HELD,
            _truth(is_held),
            Reason.ADOPTED if is_held else reason,
            "The target's template reaches users through this rollout only."
            if is_held
            else "The target is not paused now.",
        ),
        (
            ConditionType.WARMED,
            _truth(is_warmed),
            Reason.WARMED_UP
            if is_warmed
            else (Reason.WARMING_UP if attempt else Reason.UP_TO_DATE),
            "The new namespace was warm enough for traffic."
            if is_warmed
            else ("The new namespace is not warm yet." if attempt else "Nothing is to be warmed."),
        ),
        (
            ConditionType.PROMOTED,
            _truth(is_promoted),
            Reason.PROMOTED if is_promoted else reason,
            "Every pod runs the release." if is_promoted else "The release is not promoted.",
        ),
        _cache_aspect(observed),
    ]


def _cache_aspect(observed: Observed) -> tuple[ConditionType, str, Reason, str]:
    cache = observed.cache
    if cache.problem is not None:
        return (
            ConditionType.CACHE_HEALTHY,
            "False",
            Reason(cache.problem.reason),
            cache.problem.message,
        )
    if cache.coherence is not None and not cache.coherence.is_coherent:
        return (
            ConditionType.CACHE_HEALTHY,
            "False",
            Reason.CACHE_UNAVAILABLE,
            "The mirror between the two versions is being repaired; no step is taken meanwhile.",
        )
    if cache.used_memory is None:
        return (
            ConditionType.CACHE_HEALTHY,
            "Unknown",
            Reason.UP_TO_DATE,
            "Nothing is under way, so the cache is left in peace.",
        )
    return ConditionType.CACHE_HEALTHY, "True", Reason.UP_TO_DATE, "The cache answers."


def _versions(ledger: Ledger) -> str:
    if ledger.stable is None:
        return ""
    if ledger.attempt is None or ledger.attempt.release.version == ledger.stable.version:
        return ledger.stable.version
    return f"{ledger.stable.version}→{ledger.attempt.release.version}"


def _stable_side(ledger: Ledger, observed: Observed) -> SideStatus | None:
    stable, attempt = ledger.stable, ledger.attempt
    if stable is None:
        return None
    new = _new_pods(ledger, observed)
    pods = [pod for pod in observed.target_pods() if pod not in new]
    traffic = attempt.stable_traffic if attempt else Traffic()
    return _side(stable.version, stable.revision, pods, traffic, attempt)


def _target_side(ledger: Ledger, observed: Observed) -> SideStatus | None:
    attempt = ledger.attempt
    if attempt is None:
        return None
    release = attempt.release
    pods = _new_pods(ledger, observed)
    return _side(release.version, release.revision, pods, attempt.canary_traffic, attempt)


def _new_pods(ledger: Ledger, observed: Observed) -> list[PodFacts]:
    attempt = ledger.attempt
    if attempt is None:
        return []
    release = attempt.release
    return [
        pod
        for pod in (*observed.canary_pods(), *observed.target_pods())
        if pod.is_canary or (pod.revision == release.revision and pod.version == release.version)
    ]


def _side(
    version: str, revision: str, pods: list[PodFacts], traffic: Traffic, attempt: Attempt | None
) -> SideStatus:
    hits = hit_rate(traffic)
    requests = attempt.stable_traffic.requests + attempt.canary_traffic.requests if attempt else 0
    return SideStatus(
        version=version,
        revision=revision,
        replicas=len(pods),
        ready=sum(1 for pod in pods if pod.is_ready),
        admitted=sum(1 for pod in pods if pod.is_admitted),
        requests_percent=round(100 * traffic.requests / requests, 1) if requests else None,
        hit_rate_percent=_percent(hits),
        error_percent=round(100 * min(1.0, traffic.failures / traffic.requests), 3)
        if traffic.requests
        else None,
    )


def _weight(observed: Observed) -> float:
    ready = [pod for pod in (*observed.canary_pods(), *observed.target_pods()) if pod.is_ready]
    admitted = sum(1 for pod in ready if pod.is_canary)
    return round(100 * admitted / len(ready), 1) if ready else 0.0


def _warm(spec: CacheRolloutSpec, ledger: Ledger, observed: Observed) -> WarmStatus | None:
    attempt, stable = ledger.attempt, ledger.stable
    if attempt is None or stable is None or attempt.release.version == stable.version:
        return None
    works = [
        facts
        for work in warm_works(spec, attempt, stable, is_warming=True)
        if isinstance(work, CopyWork | ReplayWork)
        and (facts := observed.cache.work(work.key)) is not None
    ]
    families = _family_warmth(spec, attempt, stable.version, stable.fingerprints, works)
    done, total = sum(f.done for f in families), sum(f.total for f in families)
    covered = [f.coverage_percent for f in families if f.coverage_percent is not None]
    is_warmed = attempt.warmed_at is not None
    busy = [work for work in works if not work.is_done]
    share = 100 * done // total if total else 0
    return WarmStatus(
        done=done,
        total=total,
        coverage_percent=min(covered) if covered else None,
        keys_per_second=_rate(sum(work.keys_per_second for work in busy)) or None,
        eta_seconds=_whole(max((work.eta_seconds or 0.0 for work in busy), default=0.0)) or None,
        summary="warm" if is_warmed else f"{share} %",
        families=families,
    )


def _family_warmth(
    spec: CacheRolloutSpec,
    attempt: Attempt,
    stable_version: str,
    fingerprints: Mapping[str, str],
    works: list[WorkFacts],
) -> list[FamilyWarmth]:
    plan = plan_families(spec, attempt.release, stable_version, fingerprints)
    progress = {item.family: item for work in works for item in work.families}
    listed = []
    for method, names in (("Copy", plan.copied), ("Replay", plan.replayed), ("None", plan.cold)):
        for name in names:
            item = progress.get(name, FamilyProgress(name))
            listed.append(
                FamilyWarmth(
                    name=name,
                    method=method,
                    done=item.done,
                    total=item.total,
                    coverage_percent=_percent(item.coverage),
                )
            )
    return listed


def _origin(spec: CacheRolloutSpec, attempt: Attempt | None) -> OriginStatus | None:
    if attempt is None or attempt.baseline_origin is None:
        return None
    ratio = origin_ratio(attempt)
    return OriginStatus(
        per_second=round(attempt.stable_traffic.origin + attempt.canary_traffic.origin, 1),
        baseline_per_second=round(attempt.baseline_origin, 1),
        ratio=round(ratio, 2) if ratio is not None else None,
        budget=spec.budget(),
    )


def _cache(ledger: Ledger, observed: Observed) -> CacheStatus:
    cache, attempt = observed.cache, ledger.attempt
    states: dict[str, str] = dict.fromkeys(ledger.retiring, "Retiring")
    if attempt is not None:
        states[attempt.release.version] = "Target"
    if ledger.stable is not None:
        is_past = attempt is not None and attempt.promoted_at is not None
        states[ledger.stable.version] = "Returnable" if is_past else "Stable"
    sizes = {size.version: size for size in cache.sizes}
    is_active = attempt is not None
    return CacheStatus(
        versions=[
            VersionStatus(
                name=name,
                state=state,
                keys=sizes[name].keys if name in sizes else None,
                bytes=sizes[name].bytes if name in sizes else None,
            )
            for name, state in sorted(states.items())[:16]
        ],
        memory_percent=round(100 * cache.used_memory / cache.max_memory)
        if is_active and cache.used_memory and cache.max_memory
        else None,
        coherent=cache.coherence.is_coherent if cache.coherence else None,
        lag_ms=round(cache.coherence.lag_seconds * 1000, 1)
        if cache.coherence and cache.coherence.lag_seconds is not None
        else None,
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _truth(value: bool) -> str:
    return "True" if value else "False"


def _percent(share: float | None) -> float | None:
    return round(100 * min(max(share, 0.0), 1.0), 1) if share is not None else None


def _rate(per_second: float) -> float:
    """Tens of large rates, whole small ones."""
    return float(round(per_second, -1 if per_second >= 100 else 0))


def _whole(seconds: float | None) -> float | None:
    return float(round(seconds)) if seconds is not None and seconds < 1e9 else None


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
