"""All gates together: which questions may be asked now, and what each answer is.

A question that cannot be answered fairly is not asked, and the finding says why: a canary with a
namespace of its own cannot reach the stable hit rate, whatever its quality.
"""

from dataclasses import replace
from typing import Final

from cacherollout.api.ledger import Attempt, Evidence, Judgement, Release
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.facts import IntegritySample, Observed
from cacherollout.core.gates import Finding, Verdict, proved_share, ratio_gates
from cacherollout.core.warmup import FamilyPlan, plan_families

CORRUPT_TARGET: Final = 0.01
"""Share of stored values that may be unusable before the integrity gate fails."""
FOREIGN_LIMIT: Final = 20
"""Lookups under a foreign version that are more than a start-up's leftovers."""
_RATE_OF: Final = {
    "cacheHitRate": "lookups",
    "cacheErrorRate": "operations",
    "cacheLatency": "timed",
    "httpErrorRate": "requests",
}


def judge(
    spec: CacheRolloutSpec, attempt: Attempt, observed: Observed, stable: Release, now: float
) -> tuple[Finding, ...]:
    """Every gate's finding, in the order in which people look at them."""
    plan = plan_families(spec, attempt.release, stable.version, stable.fingerprints)
    found = [
        _hit_rate_question(finding, plan, attempt, stable.version)
        for finding in _ratios(spec, attempt, now)
    ]
    return (
        *found,
        _integrity(attempt, observed),
        _version_in_use(attempt, observed),
        _memory(spec, observed),
    )


def worst(findings: tuple[Finding, ...]) -> Finding:
    """The finding that decides."""
    return max(findings, key=lambda finding: finding.verdict)


def judgements(findings: tuple[Finding, ...]) -> tuple[Judgement, ...]:
    """The findings as the ledger keeps them, to be read when the pods they speak of are gone."""
    return tuple(
        Judgement(
            item.gate,
            item.verdict.label,
            item.message,
            item.value,
            item.target,
            round(item.evidence, 2),
        )
        for item in findings
    )


def _ratios(spec: CacheRolloutSpec, attempt: Attempt, now: float) -> list[Finding]:
    known = {item.name: item for item in attempt.evidence}
    is_soaked = attempt.traffic_since is not None and now - attempt.traffic_since >= spec.soak
    return [
        gate.find(
            known.get(gate.name, Evidence(gate.name)),
            is_soaked=is_soaked,
            per_second=getattr(attempt.canary_traffic, _RATE_OF[gate.name]),
        )
        for gate in ratio_gates(spec)
    ]


def _hit_rate_question(
    finding: Finding, plan: FamilyPlan, attempt: Attempt, stable_version: str
) -> Finding:
    if finding.gate != "cacheHitRate":
        return finding
    finding = replace(finding, value=_as_hit_rate(finding.value), target=_as_target(finding.target))
    alone = (*plan.replayed, *plan.cold)
    if not alone:
        return finding
    return replace(
        finding,
        verdict=Verdict.NOT_ASKED,
        eta_seconds=None,
        evidence=0.0,
        message=f"reported, not judged: {', '.join(alone)} of {attempt.release.version} cannot be kept "
        f"equal to {stable_version}, so no fair comparison exists",
    )


def _as_hit_rate(value: str) -> str:
    return value and f"{100 - float(value.rstrip(' %')):.1f} %"


def _as_target(value: str) -> str:
    return value and f"≥ {100 - float(value.strip('≤ %')):.4g} %"


def _integrity(attempt: Attempt, observed: Observed) -> Finding:
    version = attempt.release.version
    sample = next(
        (item for item in observed.cache.integrity if item.version == version),
        IntegritySample(version),
    )
    target = f"≤ {CORRUPT_TARGET * 100:g} % unusable"
    if not sample.sampled:
        return Finding(
            "integrity", Verdict.NOT_ASKED, f"{version} holds no values yet", target=target
        )
    share = sample.corrupt / sample.sampled
    text = f"{sample.corrupt:,} of {sample.sampled:,} sampled values of {version} are unusable"
    if sample.corrupt:
        text += f" ({sample.example})"
    verdict = Verdict.UNDECIDED
    if proved_share(sample.corrupt, sample.sampled) > CORRUPT_TARGET:
        verdict = Verdict.FAIL
    elif share <= CORRUPT_TARGET:
        verdict = Verdict.PASS
    value = f"{sample.sampled - sample.corrupt:,} of {sample.sampled:,}"
    return Finding("integrity", verdict, text, value=value, target=target)


def _version_in_use(attempt: Attempt, observed: Observed) -> Finding:
    version = attempt.release.version
    canaries = {pod.uid for pod in observed.pods if pod.is_canary}
    counted = observed.measurement.pods if observed.measurement else ()
    mine = [pod for pod in counted if pod.uid in canaries]
    foreign = sum(pod.foreign_lookups for pod in mine)
    if foreign >= FOREIGN_LIMIT:
        return Finding(
            "versionInUse",
            Verdict.FAIL,
            f"the canary made {foreign:,.0f} lookups under another version than {version}: does "
            "the application build its keys from the version variable?",
            value=f"{foreign:,.0f} foreign lookups",
            target=version,
        )
    if not mine:
        return Finding("versionInUse", Verdict.NOT_ASKED, "no canary pod counted yet")
    return Finding(
        "versionInUse",
        Verdict.PASS,
        f"the canary uses {version} only",
        value=version,
        target=version,
    )


def _memory(spec: CacheRolloutSpec, observed: Observed) -> Finding:
    used, limit = observed.cache.used_memory, observed.cache.max_memory
    if not used or not limit:
        return Finding(
            "redisMemory", Verdict.NOT_ASKED, "the cache has no memory limit to compare with"
        )
    gate, share = spec.gates.redis_memory, used / limit
    value, target = f"{share * 100:.0f} % of maxmemory", f"≤ {gate.target * 100:g} %"
    if share >= gate.alert:
        return Finding(
            "redisMemory",
            Verdict.HOLD,
            f"the cache uses {value}; at {gate.alert * 100:g} % it starts to lose keys: give it "
            "memory, or abort to free the new version's",
            value=value,
            target=target,
        )
    return Finding(
        "redisMemory", Verdict.PASS, f"the cache uses {value}", value=value, target=target
    )
