"""Corners of the ladder that no story passes through, and what the trial says of itself."""

from dataclasses import replace

import pytest

from cacherollout.api.ledger import Abort, Evidence, Ledger, Release
from cacherollout.api.reasons import Phase, Reason
from cacherollout.core.actions import (
    ApplyTarget,
    CopyWork,
    KeepSnapshot,
    RestoreTarget,
    RunWorks,
    SetAdmission,
)
from cacherollout.core.decide import decide, needs_measurement
from cacherollout.core.facts import CacheFacts, CoherenceFacts, Problem, WorkFacts
from cacherollout.core.gates import ratio_gates
from cacherollout.core.passes import Pass
from tests.factories import (
    FAMILY,
    NOW,
    REPLAYED,
    SPEC,
    attempt,
    canary,
    canary_pod,
    counted,
    counters,
    ledger,
    measurement,
    observed,
    on_trial,
    pod,
    spec,
    target,
    traffic,
    trial,
)


def test_deciding_is_pure() -> None:
    known, facts = ledger(attempt=on_trial(), attempts=1), trial()
    assert decide(SPEC, known, facts, NOW) == decide(SPEC, known, facts, NOW)


@pytest.mark.parametrize(
    ("known", "is_needed"),
    [
        (Ledger(), False),
        (ledger(), False),
        (ledger(retiring=("v0",)), False),
        (ledger(attempt=attempt()), True),
        (ledger(attempt=attempt(abort=Abort("GateFailed", "", NOW))), False),
    ],
)
def test_only_what_is_judged_is_measured(known: Ledger, is_needed: bool) -> None:
    assert needs_measurement(known) is is_needed


@pytest.mark.parametrize("part", ["target", "stable", "attempt"])
def test_a_stage_without_what_its_rung_makes_sure_of_is_a_mistake(part: str) -> None:
    here = Pass(SPEC, Ledger(), observed(target=None), NOW)
    with pytest.raises(LookupError, match="a rung above must have answered"):
        getattr(here, part)


def test_without_a_finalizer_a_deletion_is_over() -> None:
    decision = decide(SPEC, ledger(), observed(is_deleting=True, has_finalizer=False), NOW)
    assert decision.actions == (RunWorks(),)


def test_a_shared_namespace_is_not_retired_with_its_deleted_rollout() -> None:
    shared = attempt(
        release=Release("rev-b", "v1", fingerprints=SPEC.fingerprints()),
        promote_at=NOW - 50,
        promoted_at=NOW - 5,
    )
    facts = observed(
        is_deleting=True,
        target=target(revision="rev-b", is_paused=False),
        pods=(pod("n", revision="rev-b"),),
    )
    decision = decide(SPEC, ledger(attempt=shared, attempts=1), facts, NOW)
    assert decision.ledger.retiring == ()
    assert decision.ledger.stable == shared.release


def test_a_target_that_runs_an_unusable_version_is_not_adopted() -> None:
    facts = observed(target=target(stated_version="V 1", running_version="V 1"))
    decision = decide(SPEC, Ledger(), facts, NOW)
    assert (decision.reason, decision.is_stalled) == (Reason.INVALID_SPEC, True)
    assert decision.actions == ()


def test_a_version_that_serves_is_taken_off_the_list_of_those_to_remove() -> None:
    decision = decide(SPEC, Ledger(retiring=("v0", "v1")), observed(), NOW)
    assert decision.ledger.retiring == ("v0",)


@pytest.mark.parametrize("wanted", ["v1", "v*"])
def test_at_zero_replicas_a_stated_version_is_taken_as_it_is(wanted: str) -> None:
    facts = observed(
        target=target(
            replicas=0,
            revision="rev-b",
            stated_version=wanted,
            running_version=wanted,
            is_paused=False,
        ),
        pods=(),
    )
    decision = decide(SPEC, ledger(), facts, NOW)
    if wanted == "v*":
        assert decision.reason == Reason.INVALID_SPEC
    else:
        assert decision.ledger.stable is None
        assert decision.ledger.retiring == ()


def test_a_canary_without_an_attempt_is_removed() -> None:
    decision = decide(SPEC, ledger(), observed(canary=canary()), NOW)
    assert decision.phase == Phase.ROLLING_BACK
    assert [type(action).__name__ for action in decision.actions] == ["DeleteCanary"]


def test_a_canary_of_an_earlier_attempt_is_removed_first() -> None:
    facts = trial(canary=canary(attempt=7))
    decision = decide(SPEC, ledger(attempt=attempt(), attempts=8), facts, NOW)
    assert decision.reason == Reason.CANARY_STARTING
    assert [type(action).__name__ for action in decision.actions] == ["DeleteCanary"]


def test_a_canary_pod_that_runs_another_version_is_not_let_in() -> None:
    facts = trial(pods=(*observed().pods, canary_pod(version="v1", is_admitted=True)))
    decision = decide(SPEC, ledger(attempt=on_trial(), attempts=1), facts, NOW)
    assert decision.reason == Reason.CANARY_STARTING
    (closing,) = [each for each in decision.actions if type(each).__name__ == "SetAdmission"]
    assert closing.closed == ("canary-1",)  # type: ignore[union-attr]


def test_a_hold_that_is_gone_during_a_trial_is_put_back() -> None:
    facts = trial()
    assert facts.target is not None
    facts = replace(facts, target=replace(facts.target, is_paused=False))
    decision = decide(SPEC, ledger(attempt=on_trial(), attempts=1), facts, NOW)
    assert ApplyTarget(True, None, "7") in decision.actions


def test_no_step_is_taken_before_the_copies_are_sure_again() -> None:
    facts = trial(cache=CacheFacts(coherence=CoherenceFacts(is_coherent=True)))
    free = on_trial(stable_traffic=traffic(), canary_traffic=traffic(origin=0, lookups=0))
    decision = decide(SPEC, ledger(attempt=free, attempts=1), facts, NOW)
    assert "the copies are being made sure of" in decision.next
    assert decision.ledger.attempt is not None
    assert decision.ledger.attempt.admitted == 1


def test_after_the_soak_the_missing_verdicts_are_named_with_their_times() -> None:
    asked = spec(FAMILY, REPLAYED, soak="30s")
    now = on_trial(
        release=Release("rev-b", "v2", entry="v2", fingerprints=asked.fingerprints()),
        stable_traffic=traffic(),
        canary_traffic=traffic(),
    )
    decision = decide(asked, ledger(attempt=now, attempts=1), trial(), NOW)
    assert decision.phase == Phase.ANALYZING
    assert "a verdict on cacheErrorRate, cacheLatency, httpErrorRate" in decision.next


def test_a_snapshot_of_the_stable_template_is_made_anew_while_it_can_be() -> None:
    decision = decide(SPEC, ledger(), observed(snapshots=frozenset()), NOW)
    assert KeepSnapshot("rev-a") in decision.actions


def test_a_problem_at_rest_is_told_and_changes_nothing() -> None:
    facts = observed(problem=Problem(Reason.BACKEND_MISSING, "There is no CacheBackend main."))
    decision = decide(SPEC, ledger(), facts, NOW)
    assert (decision.phase, decision.is_stalled) == (Phase.IDLE, True)
    assert decision.actions == (RunWorks(),)


def test_a_late_undo_puts_the_template_back_before_anything_is_retired() -> None:
    undone = on_trial(promote_at=NOW - 9, abort=Abort("GateFailed", "bad", NOW - 1))
    facts = trial(
        canary=None,
        target=target(revision="rev-b", running_version="v2"),
        pods=tuple(pod(f"n-{i}", revision="rev-b", version="v2") for i in range(4)),
    )
    decision = decide(SPEC, ledger(attempt=undone, attempts=1), facts, NOW)
    restore, works = decision.actions
    assert restore == RestoreTarget("rev-a", None, is_paused=False, resource_version="7")
    assert isinstance(works, RunWorks)
    assert {type(work).__name__ for work in works.works} == {"MirrorWork", "VerifyWork", "KeepWork"}
    assert decision.ledger.retiring == ()


def test_promotion_is_decided_before_it_is_begun() -> None:
    """The decision must be in the ledger before the first pod is replaced."""
    asked = spec(soak="0s", gates={"integrity": {"sample": 1}})
    sure = on_trial(
        release=Release("rev-b", "v2", entry="v2", fingerprints=asked.fingerprints()),
        evidence=tuple(Evidence(gate.name, fine=-99.0, total=1e6) for gate in ratio_gates(SPEC)),
    )
    decision = decide(asked, ledger(attempt=sure, attempts=1), trial(), NOW)
    assert decision.ledger.attempt is not None
    assert decision.ledger.attempt.promote_at == NOW
    assert decision.actions == ()
    assert decision.requeue_seconds == 0


@pytest.mark.parametrize(("admitted_ago", "is_evidence"), [(3, False), (5, True), (50, True)])
def test_what_was_counted_before_the_admission_is_no_evidence(
    admitted_ago: float, is_evidence: bool
) -> None:
    """Replayed requests are no users' requests."""
    now = on_trial(
        traffic_since=NOW - admitted_ago,
        measured_at=NOW - 5,
        counted=counted(canary_1=counters(), api_1=counters()),
    )
    then = counters(requests=200, operations=400)
    facts = trial(measurement=measurement(NOW, canary_1=then, api_1=then))
    after = decide(SPEC, ledger(attempt=now, attempts=1), facts, NOW).ledger.attempt
    assert after is not None
    assert after.measured_at == NOW
    assert bool(after.evidence) is is_evidence


@pytest.mark.parametrize("is_coherent", [False, True])
def test_no_gate_is_opened_onto_a_namespace_that_is_not_kept_equal(is_coherent: bool) -> None:
    """A canary pod was replaced while the mirror was cut."""
    copy = CopyWork(("user",), "v1", "v2")
    cache = CacheFacts(
        works=(WorkFacts(copy.key, is_done=True),),
        coherence=CoherenceFacts(is_coherent=is_coherent),
    )
    fresh = canary_pod(is_admitted=False, is_ready=False)
    facts = trial(pods=(*observed().pods, fresh), cache=cache)
    decision = decide(SPEC, ledger(attempt=on_trial(), attempts=1), facts, NOW)
    opened = [each for each in decision.actions if isinstance(each, SetAdmission)]
    assert opened == ([SetAdmission(opened=("canary-1",))] if is_coherent else [])
