"""Python refuses what the API server refuses: objects may be older than a rule."""

import pytest
from pydantic import ValidationError

from cacherollout.api.backend import CacheBackendSpec
from cacherollout.api.models import WITHOUT_RULES
from cacherollout.api.rollout import CacheRolloutSpec
from tests.contract.crds.refused import (
    BACKEND,
    BACKEND_CASES,
    ROLLOUT,
    ROLLOUT_CASES,
    Case,
    changed,
)

KNOWN = [
    pytest.param(resource, model, case, id=case.sentence)
    for resource, model, cases in (
        (ROLLOUT, CacheRolloutSpec, ROLLOUT_CASES),
        (BACKEND, CacheBackendSpec, BACKEND_CASES),
    )
    for case in cases
    if case.is_known_to_python
]


@pytest.mark.parametrize(("resource", "model", "case"), KNOWN)
def test_a_wrong_spec_is_refused(resource: dict, model: type, case: Case) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(changed(resource, case.changes).get("spec"))


def test_a_share_above_its_limit_is_refused_where_the_api_server_cannot() -> None:
    wrong = changed(ROLLOUT, {"canary": {"replicas": "60%", "maxReplicas": "50%"}})
    with pytest.raises(ValidationError, match=r"maxReplicas must be at least canary\.replicas"):
        CacheRolloutSpec.model_validate(wrong["spec"])


def test_a_broken_rule_does_not_hide_the_spec_from_whoever_only_undoes() -> None:
    wrong = changed(ROLLOUT, {"soak": "30m"})
    spec = CacheRolloutSpec.model_validate(wrong["spec"], context=WITHOUT_RULES)
    assert spec.soak > spec.deadline


@pytest.mark.parametrize("key", ["app:versions", "user:versions", "order:v1:lists:7", "abc"])
def test_a_versions_key_may_begin_like_a_family_where_it_cannot_be_one_of_its_keys(
    key: str,
) -> None:
    right = changed(ROLLOUT, {"cache.versionsKey": key, "cache.families.0.writes": "InvalidateAll"})
    assert CacheRolloutSpec.model_validate(right["spec"]).cache.versions_key == key


def test_counts_and_shares_mix() -> None:
    right = changed(ROLLOUT, {"canary": {"replicas": 5, "maxReplicas": "10%"}})
    assert CacheRolloutSpec.model_validate(right["spec"]).canary.replicas == 5
