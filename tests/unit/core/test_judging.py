"""Which questions may be asked, and what each answer is."""

import pytest

from cacherollout.core.facts import (
    CacheFacts,
    IntegritySample,
    Measurement,
    PodMeasurement,
)
from cacherollout.core.gates import Finding, Verdict
from cacherollout.core.judging import judge, worst
from tests.factories import (
    FAMILY,
    NOW,
    REPLAYED,
    SPEC,
    STABLE,
    counters,
    measurement,
    on_trial,
    spec,
    trial,
)


def findings(facts: object = None, asked: object = SPEC) -> dict[str, Finding]:
    found = judge(asked, on_trial(), facts or trial(), STABLE, NOW)  # type: ignore[arg-type]
    return {each.gate: each for each in found}


INTEGRITY = {
    "no sample": ((), Verdict.NOT_ASKED),
    "nothing sampled": ((IntegritySample("v2"),), Verdict.NOT_ASKED),
    "of another version": ((IntegritySample("v1", 200, 200),), Verdict.NOT_ASKED),
    "all well": ((IntegritySample("v2", 200, 0),), Verdict.PASS),
    "one of many": ((IntegritySample("v2", 200, 1, "x"),), Verdict.PASS),
    "too many, not proved": ((IntegritySample("v2", 200, 4, "x"),), Verdict.UNDECIDED),
    "far too many": ((IntegritySample("v2", 200, 40, "role is missing"),), Verdict.FAIL),
    "the first value": ((IntegritySample("v2", 1, 1, "x"),), Verdict.UNDECIDED),
}


@pytest.mark.parametrize("case", INTEGRITY)
def test_stored_values_are_judged_when_there_are_any(case: str) -> None:
    samples, verdict = INTEGRITY[case]
    found = findings(trial(cache=CacheFacts(integrity=samples)))["integrity"]
    assert found.verdict is verdict
    if verdict is Verdict.FAIL:
        assert "40 of 200 sampled values of v2 are unusable (role is missing)" in found.message


MEMORY = {
    "no limit": (None, None, Verdict.NOT_ASKED),
    "nothing used": (0, 100, Verdict.NOT_ASKED),
    "enough": (50, 100, Verdict.PASS),
    "over the target": (85, 100, Verdict.PASS),
    "at the alert": (90, 100, Verdict.HOLD),
}


@pytest.mark.parametrize("case", MEMORY)
def test_memory_holds_and_never_blames(case: str) -> None:
    used, limit, verdict = MEMORY[case]
    facts = trial(cache=CacheFacts(used_memory=used, max_memory=limit))
    assert findings(facts)["redisMemory"].verdict is verdict


def test_the_hit_rate_is_asked_only_of_a_namespace_that_is_kept_equal() -> None:
    assert findings()["cacheHitRate"].verdict is Verdict.NO_DATA
    alone = findings(asked=spec(FAMILY, REPLAYED))["cacheHitRate"]
    assert alone.verdict is Verdict.NOT_ASKED
    assert "list of v2 cannot be kept equal to v1" in alone.message
    assert alone.target == "≥ 80 %"


def test_lookups_under_another_version_give_a_hard_coded_key_away() -> None:
    def seen(foreign: float, uid: str = "uid-canary-1") -> Verdict:
        pods = (PodMeasurement(uid, counters(), foreign_lookups=foreign),)
        return findings(trial(measurement=Measurement(NOW, pods)))["versionInUse"].verdict

    assert seen(0) is Verdict.PASS
    assert seen(19) is Verdict.PASS
    assert seen(20) is Verdict.FAIL
    assert seen(500, "uid-api-1") is Verdict.NOT_ASKED
    assert findings()["versionInUse"].verdict is Verdict.NOT_ASKED


def test_the_worst_finding_decides() -> None:
    found = tuple(Finding(verdict.label, verdict, "") for verdict in Verdict)
    assert worst(found).verdict is Verdict.FAIL
    assert worst(tuple(reversed(found))[1:]).verdict is Verdict.HOLD


def test_every_gate_has_one_finding() -> None:
    facts = trial(measurement=measurement(NOW, canary_1=counters()))
    assert list(findings(facts)) == [
        "cacheHitRate",
        "cacheErrorRate",
        "cacheLatency",
        "httpErrorRate",
        "integrity",
        "versionInUse",
        "redisMemory",
    ]
