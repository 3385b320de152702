import logging

import pytest

from cacherollout.api.ledger import Attempt, Ledger, Release, load_ledger
from cacherollout.api.names import Key
from cacherollout.api.reasons import Phase, Reason
from cacherollout.core.actions import (
    Action,
    ApplyCanary,
    ApplyTarget,
    DeleteCanary,
    FreeTarget,
    KeepWork,
    RemoveFinalizer,
    RetireWork,
    RunWorks,
)
from cacherollout.core.decisions import Decision, Say
from cacherollout.core.facts import Observed
from cacherollout.ports.errors import ConflictError, DependencyError, InvariantError
from cacherollout.shell.reconciler import confirmed
from tests.unit.shell.fakes import KEY, SPEC, Bench, FakeWorld, decision, rollout

PROMOTED = Ledger(attempts=1)
ATTEMPT = Ledger(attempt=Attempt(1, Release("rev", "v3"), started_at=0.0))
BAD_SPEC = {**SPEC, "soak": "five minutes"}


def at_rest(ledger: Ledger, observed: Observed) -> Decision:
    return decision(ledger)


def promote(version: str = "1") -> ApplyTarget:
    return ApplyTarget(False, "v3", version, is_promotion=True)


async def test_a_decision_is_stored_before_anything_follows_from_it() -> None:
    said = Say(Reason.PROMOTION_STARTED, "Every gate passed.")
    bench = Bench(lambda *_: decision(PROMOTED, promote(), RunWorks(), says=(said,)))
    bench.world.edit(status={"ledger": {"attempts": 1}})
    await bench.reconciler.reconcile(KEY)
    journal = bench.world.journal
    assert journal.index("write status") < journal.index("apply ApplyTarget")
    assert journal.index("write status") < journal.index("say PromotionStarted")
    assert load_ledger(bench.status["ledger"]) == PROMOTED


async def test_where_storing_fails_nothing_is_done_and_nothing_said() -> None:
    said = Say(Reason.PROMOTION_STARTED, "Every gate passed.")
    bench = Bench(lambda *_: decision(PROMOTED, promote(), says=(said,)))
    bench.world.before_write = lambda: bench.world.edit(annotations={"by": "somebody"})
    outcome = await bench.reconciler.reconcile(KEY)
    assert (outcome.result, outcome.requeue_seconds, outcome.is_failure) == ("conflict", 0.0, False)
    assert not [each for each in bench.world.journal if each.startswith(("apply", "say", "run"))]


async def test_races_lost_again_and_again_wait_like_failures() -> None:
    bench = Bench(lambda *_: decision(PROMOTED))
    bench.world.before_write = lambda: bench.world.edit(annotations={"by": "somebody"})
    outcomes = [await bench.reconciler.reconcile(KEY) for _ in range(4)]
    assert [each.is_failure for each in outcomes] == [False, False, False, True]
    assert bench.world.says == []


async def test_an_irreversible_action_is_dropped_when_a_fresh_look_no_longer_asks_for_it() -> None:
    looks = iter([(promote(),), (DeleteCanary("uid"),)])
    bench = Bench(lambda *_: decision(PROMOTED, *next(looks)))
    bench.world.edit(status={"ledger": {"attempts": 1}})
    bench.caches.looks = 0
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result == "conflict"
    assert "apply ApplyTarget" not in bench.world.journal


def test_an_irreversible_action_is_carried_out_as_the_fresh_look_words_it() -> None:
    fresh = decision(PROMOTED, DeleteCanary("uid"), promote("7"))
    planned = (DeleteCanary("gone"), promote("6"))
    assert confirmed(planned, fresh) == (DeleteCanary("gone"), promote("7"))


@pytest.mark.parametrize(
    "planned",
    [ApplyTarget(False, "v4", "7", is_promotion=True), RemoveFinalizer(), FreeTarget("7")],
)
def test_an_irreversible_action_that_differs_in_substance_is_refused(planned: Action) -> None:
    with pytest.raises(ConflictError, match=f"before {type(planned).__name__}"):
        confirmed((planned,), decision(PROMOTED, promote("7")))


def test_removing_keys_is_confirmed_by_the_versions_alone() -> None:
    planned = (RunWorks((RetireWork(("v2",)), KeepWork("v3", until=1.0))),)
    later = RunWorks((RetireWork(("v2",)), KeepWork("v3", until=2.0)))
    assert confirmed(planned, decision(PROMOTED, later)) == (later,)
    for other in (RunWorks((RetireWork(("v3",)),)), RunWorks()):
        with pytest.raises(ConflictError):
            confirmed(planned, decision(PROMOTED, other))


async def test_what_a_pass_does_itself_does_not_make_it_doubt_its_next_action() -> None:
    """As when works are ended, and with them the proof that they were done."""

    def rule(ledger: Ledger, _: Observed) -> Decision:
        is_forgotten = bool(bench.world.ran)
        return decision(ledger, *(() if is_forgotten else (RunWorks(), RemoveFinalizer())))

    bench = Bench(rule)
    assert (await bench.reconciler.reconcile(KEY)).result == "ok"
    assert "apply RemoveFinalizer" in bench.world.journal


async def test_a_pass_that_changes_nothing_writes_nothing() -> None:
    bench = Bench(at_rest)
    await bench.reconciler.reconcile(KEY)
    assert bench.world.writes == 1
    for _ in range(5):
        outcome = await bench.reconciler.reconcile(KEY)
        assert outcome.result == "ok"
    assert bench.world.writes == 1


async def test_a_rollout_at_rest_costs_its_cache_and_its_pods_nothing() -> None:
    bench = Bench(at_rest)
    await bench.reconciler.reconcile(KEY)
    assert (bench.caches.looks, bench.metrics.scrapes) == (0, 0)


async def test_nothing_is_begun_without_a_look_at_the_cache() -> None:
    bench = Bench(lambda *_: decision(ATTEMPT))
    await bench.reconciler.reconcile(KEY)
    assert bench.caches.looks == 1
    assert len(bench.decided) == 2


async def test_an_attempt_is_measured() -> None:
    bench = Bench(at_rest)
    bench.world.edit(status={"ledger": {"attempt": {"number": 1, "startedAt": 0, "release": {
        "revision": "rev", "version": "v3"}}}})  # fmt: skip
    await bench.reconciler.reconcile(KEY)
    assert (bench.caches.looks, bench.metrics.scrapes) == (1, 1)


async def test_works_go_to_the_cache_and_everything_else_to_the_cluster() -> None:
    work = KeepWork("v2", until=5.0)
    canary = ApplyCanary("rev", "v3", 1, 1)
    bench = Bench(lambda ledger, _: decision(ledger, canary, RunWorks((work,))))
    await bench.reconciler.reconcile(KEY)
    assert bench.world.ran == [(work,)]
    assert [each for each in bench.world.journal if each.startswith("apply")] == [
        "apply ApplyCanary"
    ]


@pytest.mark.parametrize(("asked", "least", "most"), [(0.0, 0, 0), (5.0, 4.5, 5.5), (600, 54, 60)])
async def test_the_next_look_is_jittered_and_never_later_than_the_resync(
    asked: float, least: float, most: float
) -> None:
    bench = Bench(lambda ledger, _: decision(ledger, requeue_seconds=asked))
    for _ in range(20):
        delay = (await bench.reconciler.reconcile(KEY)).requeue_seconds
        assert delay is not None
        assert least <= delay <= most


async def test_a_rollout_that_is_gone_is_forgotten_everywhere() -> None:
    bench = Bench(at_rest)
    await bench.reconciler.reconcile(KEY)
    assert bench.watcher.shown == {KEY: Phase.IDLE}
    del bench.world.stored[KEY]
    outcome = await bench.reconciler.reconcile(KEY)
    assert (outcome.result, outcome.requeue_seconds) == ("gone", None)
    assert bench.world.forgotten == [KEY]
    assert bench.metrics.forgotten == [KEY]
    assert bench.watcher.shown == {}


async def test_a_bad_spec_is_said_once_and_not_tried_again() -> None:
    bench = Bench(at_rest, FakeWorld(rollout(spec=BAD_SPEC)))
    outcome = await bench.reconciler.reconcile(KEY)
    assert (outcome.requeue_seconds, outcome.is_failure) == (None, False)
    stalled = bench.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
    assert stalled["message"].startswith("spec.soak: 'five minutes' is not a duration; write")
    await bench.reconciler.reconcile(KEY)
    assert bench.world.writes == 1
    assert [said.reason for said in bench.world.says] == [Reason.INVALID_SPEC]
    assert bench.decided == []


async def test_a_mended_spec_is_acted_upon_without_a_trace_of_the_bad_one() -> None:
    bench = Bench(at_rest, FakeWorld(rollout(spec=BAD_SPEC)))
    await bench.reconciler.reconcile(KEY)
    bench.world.edit(spec=SPEC, generation=2)
    await bench.reconciler.reconcile(KEY)
    assert bench.condition("Ready")["status"] == "True"
    assert "Stalled" not in {each["type"] for each in bench.status["conditions"]}


async def test_deletion_does_not_depend_on_a_valid_spec() -> None:
    bench = Bench(at_rest)
    bench.world.edit(spec={**SPEC, "soak": "30s"})
    await bench.reconciler.reconcile(KEY)
    bench.world.edit(spec=BAD_SPEC, generation=2, is_deleting=True)
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.result == "ok"
    assert bench.decided[-1].soak == 30.0


async def test_deletion_after_a_restart_uses_what_is_left_of_the_spec() -> None:
    bench = Bench(at_rest, FakeWorld(rollout(spec=BAD_SPEC, is_deleting=True)))
    assert (await bench.reconciler.reconcile(KEY)).result == "ok"
    assert bench.decided[-1].target_ref.name == "api"


DOWN = DependencyError(Reason.FORBIDDEN, "may not patch deployments", retry_seconds=7.0)


async def test_a_sick_dependency_is_said_when_it_lasts_and_only_once() -> None:
    bench = Bench(at_rest)
    await bench.reconciler.reconcile(KEY)
    bench.world.observe_errors = [DOWN] * 4
    first = await bench.reconciler.reconcile(KEY)
    assert (first.is_failure, first.requeue_seconds) == (True, 7.0)
    assert bench.world.says == []
    for _ in range(3):
        await bench.reconciler.reconcile(KEY)
    assert [said.reason for said in bench.world.says] == [Reason.FORBIDDEN]
    assert bench.condition("Ready")["status"] == "False"
    assert bench.condition("Ready")["message"] == "may not patch deployments"
    assert bench.condition("Stalled")["status"] == "False"
    assert bench.world.writes == 2
    await bench.reconciler.reconcile(KEY)
    await bench.reconciler.reconcile(KEY)
    assert bench.condition("Ready")["status"] == "True"
    assert bench.world.writes == 3


async def test_a_dependency_that_fails_after_the_decision_does_not_make_the_status_flap() -> None:
    bench = Bench(lambda ledger, _: decision(ledger, DeleteCanary("uid")))
    bench.world.apply_errors = [DOWN] * 6
    for _ in range(6):
        assert (await bench.reconciler.reconcile(KEY)).is_failure
    assert [said.reason for said in bench.world.says] == [Reason.FORBIDDEN]
    # The decision, and what kept it from being carried out.
    assert bench.world.writes == 2
    assert bench.condition("Ready")["reason"] == "Forbidden"
    outcome = await bench.reconciler.reconcile(KEY)
    assert outcome.requeue_seconds == 0.0
    await bench.reconciler.reconcile(KEY)
    assert bench.condition("Ready")["status"] == "True"


async def test_what_was_stored_is_said_even_where_carrying_it_out_fails() -> None:
    said = Say(Reason.GATE_FAILED, "The canary is worse.", is_warning=True)
    moved = Ledger(attempts=2)
    bench = Bench(lambda *_: decision(moved, DeleteCanary("uid"), says=(said,)))
    bench.world.apply_errors = [ConflictError("raced")]
    await bench.reconciler.reconcile(KEY)
    assert bench.world.says == [said]


async def test_what_nobody_remembers_is_said_once_and_only_when_it_is_done() -> None:
    said = Say(Reason.DRIFT_CORRECTED, "The hold was not in place; it is back.")
    bench = Bench(lambda ledger, _: decision(ledger, promote(), says=(said,)))
    bench.world.apply_errors = [ConflictError("raced")]
    await bench.reconciler.reconcile(KEY)
    assert bench.world.says == []
    await bench.reconciler.reconcile(KEY)
    assert bench.world.says == [said]


async def test_a_broken_rule_stops_that_rollout_alone_until_somebody_changes_it() -> None:
    other = Key("shop", "other")
    world = FakeWorld(rollout(), rollout(other))

    def rule(ledger: Ledger, seen: Observed) -> Decision:
        if seen.name == "api":
            raise InvariantError("two canaries")
        return decision(ledger)

    bench = Bench(rule, world)
    first = await bench.reconciler.reconcile(KEY)
    assert (first.result, first.is_failure, first.requeue_seconds) == ("invariant", False, None)
    assert (await bench.reconciler.reconcile(KEY)).result == "quarantined"
    assert (await bench.reconciler.reconcile(other)).result == "ok"
    assert [said.reason for said in world.says] == [Reason.INTERNAL_ERROR]
    world.edit(generation=2)
    assert (await bench.reconciler.reconcile(KEY)).result == "invariant"
    assert [said.reason for said in world.says] == [Reason.INTERNAL_ERROR]


async def test_an_unforeseen_error_is_counted_said_once_and_tried_again() -> None:
    bench = Bench(at_rest)
    bench.world.observe_errors = [KeyError("metadata"), KeyError("metadata")]
    outcome = await bench.reconciler.reconcile(KEY)
    await bench.reconciler.reconcile(KEY)
    assert outcome.is_failure
    assert bench.watcher.results == ["unexpected", "unexpected"]
    assert [said.reason for said in bench.world.says] == [Reason.INTERNAL_ERROR]


async def test_a_damaged_ledger_is_never_acted_upon() -> None:
    bench = Bench(at_rest)
    bench.world.edit(status={"ledger": {"attempts": "many"}})
    assert (await bench.reconciler.reconcile(KEY)).result == "invariant"
    assert bench.decided == []
    assert bench.status["ledger"] == {"attempts": "many"}


async def test_without_the_lease_nothing_is_written_or_done() -> None:
    bench = Bench(lambda *_: decision(PROMOTED, DeleteCanary("uid"), RunWorks()))
    bench.is_leading = False
    assert (await bench.reconciler.reconcile(KEY)).result == "not_leading"
    bench.world.edit(spec=BAD_SPEC)
    await bench.reconciler.reconcile(KEY)
    assert bench.world.writes == 0
    assert set(bench.world.journal) <= {"observe"}


async def test_a_lease_lost_amid_a_pass_stops_the_rest_of_it() -> None:
    bench = Bench(lambda *_: decision(PROMOTED, DeleteCanary("uid"), RunWorks()))

    def lose() -> None:
        bench.is_leading = False

    bench.world.before_write = lose
    await bench.reconciler.reconcile(KEY)
    assert bench.world.writes == 1
    assert not [each for each in bench.world.journal if each.startswith(("apply", "run"))]


async def test_one_line_is_logged_for_a_pass_that_changed_something_and_none_otherwise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(at_rest)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await bench.reconciler.reconcile(KEY)
    (record,) = caplog.records
    assert record.getMessage() == "v2 is stable and held."
    assert vars(record)["rollout"] == "shop/api"
    assert vars(record)["phase"] == "Idle"
