"""The sample policies for admins do what they say, on the real API server."""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.crds.conftest import ROOT, Kubectl
from tests.contract.crds.refused import ROLLOUT, changed

POLICIES = ROOT / "manifests/policies"
WEAK = "somebody-who-may-only-create-rollouts"
DEADLINE_SECONDS = 30.0


def _bound_to(namespace: str, path: Path) -> list[dict[str, Any]]:
    """The sample under a name of its own, in force in one namespace alone."""
    manifests = list(yaml.safe_load_all(path.read_text()))
    for each in manifests:
        each["metadata"]["name"] += f"-{namespace}"
        if "policyName" in each["spec"]:
            each["spec"]["policyName"] += f"-{namespace}"
            selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
            each["spec"]["matchResources"] = {"namespaceSelector": selector}
    return manifests


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    name = f"policies-{uuid.uuid4().hex[:8]}"
    annotations = {"example.com/cache-backends": "main,second"}
    manifests: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "annotations": annotations},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": WEAK, "namespace": name},
            "rules": [
                {
                    "apiGroups": ["cacherollout.io"],
                    "resources": ["cacherollouts"],
                    "verbs": ["create"],
                }
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": WEAK, "namespace": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": WEAK},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": WEAK}],
        },
    ]
    policies = [each for path in sorted(POLICIES.glob("*.yaml")) for each in _bound_to(name, path)]
    everything = {"apiVersion": "v1", "kind": "List", "items": manifests + policies}
    applied = kubectl("apply", "-f", "-", given=everything)
    assert applied.returncode == 0, applied.stderr
    yield name
    kubectl("delete", "-f", "-", "--wait=false", given=everything)


def _refused(kubectl: Kubectl, namespace: str, changes: dict[str, Any], *options: str) -> str:
    """What the API server says against a rollout; it learns of policies within seconds."""
    resource = changed(ROLLOUT, changes)
    resource["metadata"]["namespace"] = namespace
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        answer = kubectl("create", "--dry-run=server", *options, "-f", "-",
                         given=json.dumps(resource))  # fmt: skip
        if answer.returncode != 0:
            return answer.stderr
        assert time.monotonic() < deadline, f"accepted: {answer.stdout}"
        time.sleep(0.5)


def test_a_backend_that_was_not_given_to_the_namespace_is_refused(
    kubectl: Kubectl, namespace: str
) -> None:
    said = _refused(kubectl, namespace, {"cache.backendRef.name": "foreign"})
    assert "spec.cache.backendRef.name: this namespace may not use the backend foreign" in said


def test_a_protected_target_is_refused(kubectl: Kubectl, namespace: str) -> None:
    said = _refused(kubectl, namespace, {"targetRef.name": "payments"})
    assert "spec.targetRef.name: the Deployment payments is protected" in said


def test_somebody_who_may_not_patch_the_target_is_refused(kubectl: Kubectl, namespace: str) -> None:
    said = _refused(kubectl, namespace, {}, f"--as={WEAK}")
    assert "spec.targetRef.name: you may not patch the Deployment shop-api" in said


def test_everybody_else_is_let_through(kubectl: Kubectl, namespace: str) -> None:
    for changes in ({}, {"cache.backendRef.name": "second"}):
        resource = changed(ROLLOUT, changes)
        resource["metadata"]["namespace"] = namespace
        answer = kubectl("create", "--dry-run=server", "-f", "-", given=resource)
        assert answer.returncode == 0, answer.stderr
