"""Who acts, what is held, which version the next release gets: each finding by itself."""

from dataclasses import replace

import pytest

from cacherollout.api.ledger import Attempt, Release
from cacherollout.core.facts import CanaryFacts, Problem
from cacherollout.core.readiness import Outcome, Seen, Unseen
from tests.unit.core.sightings import (
    CHANGED,
    FAILED,
    OBSERVED,
    OK,
    TARGET,
    UNSEEN,
    WARNING,
    a_spec,
    item,
    seen,
    with_ledger,
    with_target,
)

CASES: list[tuple[str, str, Seen, Outcome, str]] = [
    ("nobody acts on the spec", "operator", seen(is_acted_upon=False), FAILED, "has not acted"),
    ("it is stalled", "operator", seen(stall="the Secret is gone"), FAILED, "the Secret is gone"),
    ("it is paused", "operator", with_ledger(is_paused=True), WARNING, "resume it"),
    (
        "no Deployment",
        "target",
        seen(observed=replace(OBSERVED, target=None)),
        FAILED,
        "no Deployment api",
    ),
    ("no replicas", "target", with_target(replicas=0, ready=0), FAILED, "no replicas"),
    ("a pod is missing", "target", with_target(ready=5), FAILED, "5 of 6 pods"),
    ("held", "hold", seen(), OK, "v2 is stable"),
    (
        "two rollouts on one target",
        "hold",
        seen(observed=replace(OBSERVED, problem=Problem("TargetConflict", "an older one holds"))),
        FAILED,
        "an older one holds",
    ),
    (
        "nothing to hold",
        "hold",
        seen(observed=replace(OBSERVED, target=None)),
        UNSEEN,
        "no target",
    ),
    ("not adopted", "hold", with_ledger(stable=None), FAILED, "not adopted"),
    ("created again", "hold", with_ledger(target_uid="old"), FAILED, "`retry`"),
    ("not paused", "hold", with_target(is_paused=False), FAILED, "not paused"),
    (
        "a release is under way",
        "hold",
        with_ledger(attempt=Attempt(3, Release("r2", "v3"), started_at=1.0)),
        WARNING,
        "attempt 3 (v3)",
    ),
    (
        "the template was rolled back",
        "hold",
        seen(
            ledger=replace(seen().ledger, rejected=Release("r9", "v3")),
            observed=replace(OBSERVED, target=replace(TARGET, revision="r9")),
        ),
        WARNING,
        "rolled back (v3)",
    ),
    ("Auto", "version", seen(), OK, "gets v3 instead of v2"),
    (
        "Auto, with a changed schema",
        "version",
        seen(spec=a_spec(families=CHANGED)),
        OK,
        "the schema of user changed; the next release gets v3",
    ),
    (
        "OnSchemaChange without a change",
        "version",
        seen(spec=a_spec("OnSchemaChange")),
        OK,
        "shares v2",
    ),
    (
        "OnSchemaChange with a change",
        "version",
        seen(spec=a_spec("OnSchemaChange", CHANGED)),
        OK,
        "gets v3",
    ),
    ("a literal, unchanged", "version", seen(spec=a_spec("v2")), OK, "shares v2"),
    ("a literal, raised", "version", seen(spec=a_spec("v7", CHANGED)), OK, "gets v7"),
    (
        "a literal, not raised",
        "version",
        seen(spec=a_spec("v2", CHANGED)),
        FAILED,
        "spec.cache.version still says v2: raise it, or set it to Auto",
    ),
    (
        "the template's own, not raised yet",
        "version",
        replace(with_target(stated_version="v2"), spec=a_spec(families=CHANGED)),
        WARNING,
        "raise it from v2 with the release",
    ),
    (
        "the template's own, not raised in a new template",
        "version",
        replace(with_target(stated_version="v2", revision="r2"), spec=a_spec(families=CHANGED)),
        FAILED,
        "still says v2: raise it",
    ),
    (
        "a version that no key can hold",
        "version",
        with_target(stated_version="V 2"),
        FAILED,
        "cannot be part of a key",
    ),
    (
        "a version that is being retired",
        "version",
        replace(with_ledger(retiring=("v1",)), spec=a_spec("v1")),
        WARNING,
        "is being retired",
    ),
    ("one of seven", "canary", seen(), OK, "1 beside 6 pods, 14 % of the users"),
    (
        "half of the users",
        "canary",
        with_target(replicas=1, ready=1),
        WARNING,
        "1 beside 1 pods, 50 %",
    ),
    (
        "its name is taken",
        "canary",
        seen(observed=replace(OBSERVED, canary=CanaryFacts("c", False, 0, "", "", 1))),
        FAILED,
        "not ours",
    ),
    ("nobody to share with", "canary", with_target(replicas=0), UNSEEN, "share is unknown"),
    (
        "templates within",
        "keyPrefixes",
        seen(),
        OK,
        "all 2 key templates lie under user:, order: and",
    ),
    (
        "a template outside",
        "keyPrefixes",
        seen(prefixes=Unseen("families[0].key: …", is_failure=True)),
        FAILED,
        "families[0].key",
    ),
    (
        "a backend that may not be read",
        "keyPrefixes",
        seen(prefixes=Unseen("denied")),
        UNSEEN,
        "denied",
    ),
]


@pytest.mark.parametrize(
    ("name", "what", "outcome", "said"),
    [pytest.param(*case[1:], id=f"{case[1]}: {case[0]}") for case in CASES],
)
def test_an_item_says_what_was_found(name: str, what: Seen, outcome: Outcome, said: str) -> None:
    found = item(name, what)
    assert said in found.message
    assert found.outcome is outcome
