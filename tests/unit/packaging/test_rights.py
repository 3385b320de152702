"""What the operator may do is exactly what it needs, and never the means to take more."""

from typing import Any

import pytest

from tests.unit.packaging.conftest import Manifests, Render

RIGHTS = {
    ("cacherollout.io", "cacherollouts"): {"get", "list", "watch", "patch"},
    ("cacherollout.io", "cacherollouts/status"): {"update"},
    ("cacherollout.io", "cacherollouts/finalizers"): {"update"},
    ("cacherollout.io", "cachebackends"): {"get", "list", "watch"},
    ("apps", "deployments"): {"get", "list", "watch", "create", "patch", "delete"},
    ("apps", "replicasets"): {"get", "list"},
    ("apps", "controllerrevisions"): {"get", "list", "create", "delete"},
    ("", "pods"): {"get", "list", "watch"},
    ("", "pods/status"): {"patch"},
    ("", "namespaces"): {"get"},
    ("", "events"): {"create", "patch"},
}
"""A right that is not here needs a reason here first."""

FORBIDDEN_RESOURCES = {
    "configmaps",
    "nodes",
    "nodes/proxy",
    "pods/attach",
    "pods/ephemeralcontainers",
    "pods/exec",
    "pods/portforward",
    "pods/proxy",
    "serviceaccounts/token",
}
FORBIDDEN_VERBS = {"*", "bind", "escalate", "impersonate", "deletecollection"}

MODES = {
    "one namespace": (),
    "some namespaces": ("watchNamespaces={shop,cart}",),
    "the whole cluster": ("clusterWide=true",),
    "with secrets": ("backendSecrets={redis-operator}",),
    "with roles for people": ("userRoles.create=true",),
}


def _roles(manifests: Manifests) -> Manifests:
    return [each for each in manifests if each["kind"] in ("Role", "ClusterRole")]


def _rules(manifests: Manifests) -> list[dict[str, Any]]:
    return [rule for role in _roles(manifests) for rule in role["rules"]]


def _operator_rights(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


@pytest.mark.parametrize("values", MODES.values(), ids=MODES)
def test_no_rule_has_a_wildcard_or_a_way_to_more(render: Render, values: tuple[str, ...]) -> None:
    for rule in _rules(render(*values)):
        assert "*" not in (*rule["apiGroups"], *rule["resources"])
        assert not FORBIDDEN_RESOURCES & set(rule["resources"])
        # People may clear out their own objects at once; the operator never does.
        verbs = set(rule["verbs"])
        if rule["apiGroups"] == ["cacherollout.io"] and "create" in verbs:
            verbs -= {"deletecollection"}
        assert not FORBIDDEN_VERBS & verbs


@pytest.mark.parametrize("values", MODES.values(), ids=MODES)
def test_secrets_are_got_by_name_or_not_at_all(render: Render, values: tuple[str, ...]) -> None:
    rules = [rule for rule in _rules(render(*values)) if "secrets" in rule["resources"]]
    for rule in rules:
        assert rule["verbs"] == ["get"]
        assert rule["resourceNames"] == ["redis-operator"]
    assert bool(rules) == ("backendSecrets={redis-operator}" in values)


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ((), [("Role", "team")]),
        (("watchNamespaces={shop,cart}",), [("Role", "shop"), ("Role", "cart")]),
        (("clusterWide=true",), [("ClusterRole", None)]),
    ],
    ids=["one namespace", "some namespaces", "the whole cluster"],
)
def test_the_operator_has_these_rights_and_no_others(
    render: Render, values: tuple[str, ...], places: list[tuple[str, str | None]]
) -> None:
    roles = [each for each in _roles(render(*values)) if each["metadata"]["name"] == "cacherollout"]
    assert [(each["kind"], each["metadata"].get("namespace")) for each in roles] == places
    for role in roles:
        assert _operator_rights(role) == RIGHTS


def test_the_lease_is_reached_by_name_in_the_own_namespace(render: Render) -> None:
    manifests = render("watchNamespaces={shop}")
    (role,) = [each for each in _roles(manifests) if each["metadata"]["name"].endswith("-lease")]
    assert role["metadata"]["namespace"] == "team"
    (deployment,) = [each for each in manifests if each["kind"] == "Deployment"]
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    (create, use) = role["rules"]
    assert create["verbs"] == ["create"]
    assert f"--lease-name={use['resourceNames'][0]}" in arguments


def test_without_cluster_wide_nothing_is_granted_to_the_cluster(render: Render) -> None:
    kinds = {each["kind"] for each in render("watchNamespaces={shop}")}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}


def test_every_role_is_bound_to_the_operator_alone(render: Render) -> None:
    for values in MODES.values():
        manifests = render(*values)
        bindings = [each for each in manifests if each["kind"].endswith("Binding")]
        bound = {(each["metadata"].get("namespace"), each["roleRef"]["name"]) for each in bindings}
        for role in _roles(manifests):
            is_for_people = any("aggregate-to" in label for label in role["metadata"]["labels"])
            place = (role["metadata"].get("namespace"), role["metadata"]["name"])
            assert (place in bound) is not is_for_people
        for binding in bindings:
            assert binding["subjects"] == [
                {"kind": "ServiceAccount", "name": "cacherollout", "namespace": "team"}
            ]


def test_nobody_may_write_a_status(render: Render) -> None:
    for role in _roles(render("userRoles.create=true")):
        if any("aggregate-to" in label for label in role["metadata"]["labels"]):
            resources = {resource for rule in role["rules"] for resource in rule["resources"]}
            assert resources <= {"cacherollouts", "cachebackends"}
