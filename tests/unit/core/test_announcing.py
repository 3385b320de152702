"""Which versions are published when, and from when on every pod goes by them."""

from dataclasses import replace

import pytest

from cacherollout.api.ledger import Ledger
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import PublishWork, RunWorks, SetAdmission, VerifyWork
from cacherollout.core.announcing import (
    HEARD_SECONDS,
    concluded,
    in_use,
    is_heard,
    noted,
    run_works,
    trouble,
)
from cacherollout.core.decide import decide
from cacherollout.core.facts import CacheFacts, CoherenceFacts, Problem, WorkFacts
from cacherollout.core.passes import Pass
from cacherollout.shell.reconciler import has_cache_business
from tests.factories import (
    FAMILY,
    NOW,
    RELEASE,
    REPLAYED,
    SPEC,
    STABLE,
    attempt,
    canary_pod,
    ledger,
    observed,
    spec,
    trial,
)

NAMED = SPEC.model_copy(
    update={"cache": SPEC.cache.model_copy(update={"versions_key": "app:versions"})}
)
BOTH = PublishWork("app:versions", ("v1", "v2"))
ALONE = PublishWork("app:versions", ("v1",))
TRIED = ledger(attempt=attempt())


def a_pass(remembered: Ledger = TRIED, *works: WorkFacts, named: bool = True) -> Pass:
    cache = CacheFacts(works=works)
    return Pass(NAMED if named else spec(), remembered, observed(cache=cache), NOW)


@pytest.mark.parametrize(
    ("remembered", "versions"),
    [
        (Ledger(), ()),
        (ledger(), ("v1",)),
        (TRIED, ("v1", "v2")),
        (ledger(attempt=attempt(release=replace(RELEASE, version="v1"))), ("v1",)),
        (ledger(retiring=("v0",)), ("v1", "v0")),
        (replace(TRIED, retiring=("v0", "v2")), ("v1", "v2", "v0")),
    ],
)
def test_in_use_is_what_has_pods_or_keys_the_serving_one_first(
    remembered: Ledger, versions: tuple[str, ...]
) -> None:
    assert in_use(remembered) == versions


def test_what_is_published_comes_before_the_other_works() -> None:
    verify = VerifyWork("v2", 200)
    assert run_works(a_pass(), verify).works == (BOTH, verify)
    assert run_works(a_pass(named=False), verify).works == (verify,)


def test_one_version_is_published_only_to_take_another_back() -> None:
    assert run_works(a_pass(ledger())).works == ()
    assert run_works(a_pass(ledger(is_announcing=True))).works == (ALONE,)


@pytest.mark.parametrize(
    ("facts", "is_so"),
    [
        ((), False),
        ((WorkFacts(BOTH.key),), False),
        ((WorkFacts(BOTH.key, since=NOW - HEARD_SECONDS + 0.1),), False),
        ((WorkFacts(BOTH.key, since=NOW - HEARD_SECONDS),), True),
        ((WorkFacts(ALONE.key, since=0.0),), False),
        ((WorkFacts(BOTH.key, since=NOW + 60),), False),
    ],
)
def test_pods_have_heard_once_exactly_this_was_there_for_long_enough(
    facts: tuple[WorkFacts, ...], is_so: bool
) -> None:
    assert is_heard(a_pass(TRIED, *facts)) is is_so


def test_nobody_waits_where_nothing_is_published() -> None:
    assert is_heard(a_pass(named=False))
    assert is_heard(a_pass(ledger()))


def test_it_is_remembered_before_it_is_published() -> None:
    assert noted(NAMED, TRIED).is_announcing
    assert not noted(NAMED, ledger()).is_announcing
    assert not noted(spec(), TRIED).is_announcing
    assert has_cache_business(noted(NAMED, ledger(retiring=("v0",))))
    assert has_cache_business(ledger(is_announcing=True))
    assert not has_cache_business(ledger())


def test_it_is_over_once_the_serving_version_stands_alone() -> None:
    waiting = ledger(is_announcing=True)
    there = WorkFacts(ALONE.key, since=NOW)
    assert not concluded(a_pass(waiting, there)).ledger.is_announcing
    assert concluded(a_pass(waiting)).ledger.is_announcing
    assert concluded(a_pass(waiting, WorkFacts(ALONE.key))).ledger.is_announcing
    assert not concluded(a_pass(waiting, named=False)).ledger.is_announcing
    still = replace(waiting, retiring=("v0",))
    assert concluded(a_pass(still, there)).ledger.is_announcing


def test_what_is_in_the_way_is_said() -> None:
    facts = WorkFacts(BOTH.key, problem=Problem("CacheAccessDenied", "It may not."))
    assert trouble(a_pass(TRIED, facts)) == "It may not"
    assert trouble(a_pass()) == ""


REPLAYING = CacheRolloutSpec.model_validate(
    {
        "targetRef": {"name": "api"},
        "cache": {
            "backendRef": {"name": "main"},
            "versionsKey": "app:versions",
            "families": [{**FAMILY, "writes": "InvalidateAll"}, {**REPLAYED}],
        },
    }
)


@pytest.mark.parametrize(
    ("since", "kinds", "is_admitted"),
    [
        (None, {"PublishWork", "MirrorWork", "VerifyWork", "CopyWork"}, False),
        (NOW - 1, {"PublishWork", "MirrorWork", "VerifyWork", "CopyWork"}, False),
        (NOW - 9, {"PublishWork", "MirrorWork", "VerifyWork", "CopyWork"}, True),
    ],
)
def test_a_canary_that_is_there_already_is_neither_replayed_to_nor_admitted_unheard(
    since: float | None, kinds: set[str], is_admitted: bool
) -> None:
    """As after a restart of the operator: what runs goes on, and the rest waits once more."""
    prints = REPLAYING.fingerprints()
    release = replace(RELEASE, fingerprints=prints)
    known = ledger(
        stable=replace(STABLE, fingerprints=prints),
        attempt=attempt(release=release, baseline_ticks=5, baseline_origin=100.0),
        attempts=1,
    )
    done = (
        WorkFacts("copy/v1/v2/user", is_done=True),
        WorkFacts("replay/v1/v2/list", is_done=True),
        WorkFacts(BOTH.key, since=since),
    )
    cache = CacheFacts(works=done, coherence=CoherenceFacts(is_coherent=True))
    pods = (*observed().pods, canary_pod(is_admitted=False, is_ready=False))
    decision = decide(REPLAYING, known, trial(cache=cache, pods=pods), NOW)
    (works,) = [action for action in decision.actions if isinstance(action, RunWorks)]
    assert {type(work).__name__ for work in works.works} == kinds
    opened = [action for action in decision.actions if isinstance(action, SetAdmission)]
    assert bool(opened) is is_admitted
