"""What a person asks for by annotation, and what they are told when it makes no sense."""

import pytest

from cacherollout.api.reasons import Phase, Reason
from tests.scenario.clusters import App
from tests.scenario.loops import Scenario
from tests.scenario.test_releases import given_adopted, serves


def given_release_in(phase: str, **spec: object) -> Scenario:
    world = given_adopted(**spec)
    world.deploy("b")
    world.until(phase)
    return world


REFUSED = {
    "dance": ("Idle", "unknown"),
    "abort": ("Idle", "nothing to abort"),
    "promote": ("Idle", "nothing to promote"),
    "retry": ("Idle", "nothing to retry"),
    "promote/rev-b": ("Warming", "takes no traffic yet"),
    "abort/rev-x": ("Analyzing", "but rev-b is at hand"),
    "promote/rev-x": ("Analyzing", "but rev-b is at hand"),
    "promote ": ("Promoting", "unknown"),
}


@pytest.mark.parametrize("verb", REFUSED)
def test_a_request_that_makes_no_sense_is_refused_once_with_a_reason(verb: str) -> None:
    phase, words = REFUSED[verb]
    world = given_adopted() if phase == "Idle" else given_release_in(phase)
    world.ask(verb)
    world.run(2)
    (said,) = world.said(Reason.REQUEST_REFUSED)
    assert words in said
    assert world.rollout.annotations == {}
    world.settle()
    assert serves(world, *(("a", "v1") if phase == "Idle" else ("b", "v2")))


def test_promoting_what_is_being_promoted_is_refused() -> None:
    world = given_release_in("Promoting")
    world.ask("promote")
    world.settle()
    (said,) = world.said(Reason.REQUEST_REFUSED)
    assert "being promoted already" in said


def test_a_person_may_promote_without_waiting_for_the_gates() -> None:
    world = given_release_in("Analyzing", soak="10m", deadline="20m")
    world.oracle.has_word = True
    world.ask("promote/rev-b")
    world.settle()
    assert serves(world, "b", "v2")
    assert world.now - 1_000_000 < 500


def test_nobody_may_promote_what_a_gate_holds() -> None:
    world = given_release_in("Analyzing", soak="60s")
    world.cache.used_memory = 950
    world.run(10)
    world.ask("promote")
    world.run(2)
    assert "redisMemory says Hold" in world.said(Reason.REQUEST_REFUSED)[0]


def test_nobody_may_promote_while_the_cache_is_down() -> None:
    world = given_release_in("Analyzing", soak="60s")
    world.cache.is_down = True
    world.run(2)
    world.ask("promote")
    world.run(2)
    assert "promote later" in world.said(Reason.REQUEST_REFUSED)[0]


@pytest.mark.parametrize("phase", ["Warming", "Analyzing", "Promoting", "Observing"])
def test_an_abort_is_obeyed_in_every_phase(phase: str) -> None:
    world = given_release_in(phase)
    world.ask("abort")
    world.settle()
    assert world.phase == Phase.ROLLED_BACK
    assert serves(world, "a", "v1")
    assert len(world.said(Reason.ABORT_REQUESTED)) == 1


def test_an_abort_of_what_is_being_undone_is_refused() -> None:
    world = given_release_in("Analyzing")
    world.ask("abort")
    world.until("RollingBack")
    world.ask("abort")
    world.settle()
    assert len(world.said(Reason.REQUEST_REFUSED)) == 1
    assert serves(world, "a", "v1")


@pytest.mark.parametrize("phase", ["Warming", "Analyzing", "Promoting"])
def test_a_paused_rollout_takes_no_step_and_misses_no_deadline(phase: str) -> None:
    world = given_release_in(phase)
    world.ask("pause")
    world.run(500)
    assert world.phase == phase
    assert world.reason == Reason.PAUSED_BY_REQUEST
    world.ask("resume")
    world.settle()
    assert serves(world, "b", "v2")
    assert world.ledger.attempts == 1


def test_a_paused_rollout_begins_nothing() -> None:
    world = given_adopted()
    world.ask("pause")
    world.settle()
    world.deploy("b")
    world.run(60)
    assert world.reason == Reason.PAUSED_BY_REQUEST
    assert world.canary is None
    world.ask("resume")
    world.settle()
    assert serves(world, "b", "v2")


def test_a_paused_rollout_is_undone_all_the_same_when_a_gate_fails() -> None:
    world = given_release_in("Analyzing")
    world.ask("pause")
    world.run(20)
    world.apps["b"] = App(http_errors=0.05)
    world.settle()
    assert world.ledger.rejected_reason == Reason.GATE_FAILED
    assert serves(world, "a", "v1")


def test_a_window_ends_even_where_the_rollout_is_paused() -> None:
    world = given_release_in("Observing")
    world.ask("pause")
    world.settle()
    assert serves(world, "b", "v2")


def test_a_retry_of_another_revision_is_refused() -> None:
    world = given_adopted()
    world.apps["b"] = App(http_errors=0.05)
    world.deploy("b")
    world.settle()
    world.ask("retry/rev-c")
    world.settle()
    assert "but rev-b is at hand" in world.said(Reason.REQUEST_REFUSED)[0]
    assert world.ledger.attempts == 1
