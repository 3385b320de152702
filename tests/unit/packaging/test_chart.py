"""The chart says what it takes, refuses what it does not know, and starts what exists."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from cacherollout.cli.crd import rendered as definitions
from cacherollout.cli.run import run
from cacherollout.shell.telemetry import Metrics
from tests.unit.packaging.conftest import CHART, ROOT, Helm, Manifests, Render

MONITORING = ("--api-versions=monitoring.coreos.com/v1",)


def _one(manifests: Manifests, kind: str) -> dict[str, Any]:
    (found,) = [each for each in manifests if each["kind"] == kind]
    return found


def _pod(manifests: Manifests) -> dict[str, Any]:
    spec: dict[str, Any] = _one(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value and name != "resources":
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}"


VALUES = list(_leaves(yaml.safe_load((CHART / "values.yaml").read_text())))


def test_the_chart_passes_the_strictest_lint(helm: Helm) -> None:
    answer = helm("lint", "--strict", str(CHART))
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("path", VALUES)
def test_every_value_is_described(path: str) -> None:
    node = json.loads((CHART / "values.schema.json").read_text())
    for part in path.split("."):
        node = node["properties"][part]
        assert node["description"]
    assert f"| `{path}` |" in (CHART / "README.md").read_text()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("replica=2", "replica"),
        ("replicas=0", "/replicas"),
        ("image.tagg=v1", "tagg"),
        ("watchNamespaces={Shop}", "/watchNamespaces/0"),
        ("backendSecrets={a/b}", "/backendSecrets/0"),
        ("networkPolicy.cachePorts={70000}", "/networkPolicy/cachePorts/0"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, value: str, says: str) -> None:
    answer = helm("template", str(CHART), "--set", value)
    assert answer.returncode != 0
    assert says in answer.stderr


def test_the_whole_cluster_and_some_namespaces_exclude_each_other(helm: Helm) -> None:
    sets = ("--set", "clusterWide=true", "--set", "watchNamespaces={shop}")
    answer = helm("template", str(CHART), *sets)
    assert answer.returncode != 0
    assert "watchNamespaces" in answer.stderr


@pytest.mark.parametrize(
    "value", ["workers=8", "watchNamespaces={shop,cart}", "clusterWide=true", "logFormat=text"]
)
def test_the_operator_understands_its_arguments(render: Render, value: str) -> None:
    name, *arguments = _pod(render(value))["containers"][0]["args"]
    assert name == "run"
    given = [argument.replace("$(POD_NAMESPACE)", "team") for argument in arguments]
    context = run.make_context("run", given)
    namespaces = {"watchNamespaces={shop,cart}": ("shop", "cart"), "clusterWide=true": ()}
    assert context.params["namespaces"] == namespaces.get(value, ("team",))
    assert context.params["all_namespaces"] is (value == "clusterWide=true")
    assert context.params["lease_namespace"] == "team"


def test_the_pod_is_as_small_as_pod_security_restricted_wants(render: Render) -> None:
    manifests = render()
    pods = [_pod(manifests), _one(manifests, "Pod")["spec"]]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_definitions_are_kept_unless_told_otherwise(render: Render) -> None:
    def kept(*values: str) -> list[str | None]:
        return [
            each["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
            for each in render(*values)
            if each["kind"] == "CustomResourceDefinition"
        ]

    assert kept() == ["keep", "keep"]
    assert kept("crds.keep=false") == [None, None]
    assert kept("crds.install=false") == []


def test_the_chart_carries_the_definitions_of_the_models(render: Render) -> None:
    expected = {
        text["metadata"]["name"]: text["spec"]
        for text in map(yaml.safe_load, definitions().values())
    }
    carried = {
        each["metadata"]["name"]: each["spec"]
        for each in render()
        if each["kind"] == "CustomResourceDefinition"
    }
    assert carried == expected


def test_the_chart_has_the_version_of_the_package() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["version"] == package


def test_monitoring_needs_its_kinds(helm: Helm, render: Render) -> None:
    answer = helm("template", str(CHART), "--set", "serviceMonitor.enabled=true")
    assert "monitoring.coreos.com/v1: install the Prometheus operator" in answer.stderr
    values = ("serviceMonitor.enabled=true", "prometheusRule.enabled=true")
    kinds = {each["kind"] for each in render(*values, options=MONITORING)}
    assert {"ServiceMonitor", "PrometheusRule"} <= kinds


def test_alerts_speak_of_metrics_that_exist(render: Render) -> None:
    registry: CollectorRegistry = Metrics().registry
    known = {metric.name for metric in registry.collect()}
    rules = _one(render("prometheusRule.enabled=true", options=MONITORING), "PrometheusRule")
    for rule in rules["spec"]["groups"][0]["rules"]:
        asked = set(re.findall(r"\bcacherollout_\w+", rule["expr"]))
        assert asked
        assert asked <= known


@pytest.mark.parametrize("field", ["ingress", "egress"])
def test_the_network_policy_names_ports_or_peers(render: Render, field: str) -> None:
    policy = _one(render("watchNamespaces={shop}"), "NetworkPolicy")["spec"]
    for rule in policy[field]:
        assert rule.get("ports") or rule.get("to")
    peers = [rule["to"] for rule in policy["egress"] if "to" in rule]
    assert peers == [
        [
            {
                "namespaceSelector": {
                    "matchExpressions": [
                        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}
                    ]
                }
            }
        ]
    ]


def test_the_overlay_puts_everything_into_its_namespace() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "manifests/overlays/shop")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    manifests = list(yaml.safe_load_all(built.stdout))
    namespaces = {
        each["metadata"].get("namespace")
        for each in manifests
        if each["kind"] != "CustomResourceDefinition"
    }
    assert namespaces == {"shop"}
    for binding in manifests:
        if binding["kind"] == "RoleBinding":
            assert binding["subjects"][0]["namespace"] == "shop"
