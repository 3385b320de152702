"""The API server refuses wrong resources, and says which field is wrong and what to write."""

import uuid
from typing import Any

import pytest

from tests.contract.crds.conftest import Kubectl
from tests.contract.crds.refused import (
    BACKEND,
    BACKEND_CASES,
    ROLLOUT,
    ROLLOUT_CASES,
    Case,
    changed,
)

CASES = [
    pytest.param(resource, case, id=f"{resource['kind']}: {case.sentence}")
    for resource, cases in ((ROLLOUT, ROLLOUT_CASES), (BACKEND, BACKEND_CASES))
    for case in cases
]


@pytest.mark.parametrize("resource", [ROLLOUT, BACKEND], ids=lambda r: r["kind"])
def test_the_resource_that_the_cases_start_from_is_accepted(
    kubectl: Kubectl, resource: dict[str, Any]
) -> None:
    answer = kubectl("create", "--dry-run=server", "-f", "-", given=resource)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(("resource", "case"), CASES)
def test_a_wrong_resource_is_refused(
    kubectl: Kubectl, resource: dict[str, Any], case: Case
) -> None:
    answer = kubectl("create", "--dry-run=server", "-f", "-", given=changed(resource, case.changes))
    assert answer.returncode != 0, f"accepted: {answer.stdout}"
    assert case.names in answer.stderr
    assert case.says in answer.stderr
    assert "evaluating rule" not in answer.stderr, "a rule broke instead of judging"


@pytest.mark.parametrize(
    ("line", "names", "says"),
    [
        ("  originLoad: {budget: 1e309}\n", "originLoad.budget", "must be of type number"),
        ("  soak: yes\n", "spec.soak", "must be of type string"),
        ("  deadline: 010\n", "spec.deadline", "must be of type string"),
        ("  originLoad: {budget: 1_000}\n", "originLoad.budget", "less than or equal to 10"),
        ("  gates: null\n  canary: [1]\n", "spec.canary", "must be of type object"),
    ],
    ids=[
        "a number without end",
        "yes",
        "octal",
        "a number with an underscore",
        "a list for an object",
    ],
)
def test_a_trap_of_yaml_is_refused(kubectl: Kubectl, line: str, names: str, says: str) -> None:
    text = (
        "apiVersion: cacherollout.io/v1alpha1\n"
        "kind: CacheRollout\n"
        "metadata: {name: shop-api, namespace: default}\n"
        "spec:\n"
        "  targetRef: {name: shop-api}\n"
        "  cache:\n"
        "    backendRef: {name: main}\n"
        "    families: [{name: user, key: 'user:{version}:{id}'}]\n"
    )
    answer = kubectl("create", "--dry-run=server", "-f", "-", given=text + line)
    assert answer.returncode != 0, f"accepted: {answer.stdout}"
    assert names in answer.stderr
    assert says in answer.stderr


def test_the_target_cannot_be_changed(kubectl: Kubectl) -> None:
    resource = changed(ROLLOUT, {})
    resource["metadata"]["name"] = f"immutable-{uuid.uuid4().hex[:8]}"
    created = kubectl("create", "-f", "-", given=resource)
    assert created.returncode == 0, created.stderr
    try:
        resource["spec"]["targetRef"]["name"] = "another"
        answer = kubectl("replace", "--dry-run=server", "-f", "-", given=resource)
        assert answer.returncode != 0
        assert "spec.targetRef.name" in answer.stderr
        assert "delete this CacheRollout and create another" in answer.stderr
    finally:
        deleted = kubectl("delete", "-f", "-", given=resource)
    assert deleted.returncode == 0, deleted.stderr
