"""The life of an installation on a real cluster: install, use, upgrade, uninstall.

The namespace enforces Pod Security `restricted`, and the operator has the chart's rights alone.
"""

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/cacherollout"
OPERATOR = "app.kubernetes.io/name=cacherollout"
PASSWORD = "only-for-the-packaging-test"
# The definitions may be there already, and may have been applied by kubectl.
ADOPT = ("--take-ownership", "--force-conflicts")
DEFINITIONS = ("cachebackends.cacherollout.io", "cacherollouts.cacherollout.io")
DEADLINE_SECONDS = 60.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@dataclass(frozen=True, slots=True)
class Installation:
    """One namespace with a release of the operator."""

    kubeconfig: Path
    namespace: str
    release: str = "cacherollout"

    def run(self, program: str, *arguments: str, given: Any = None) -> str:
        """Output of helm or kubectl in the namespace; the test fails with what it said."""
        answer = self.ask(program, *arguments, given=given)
        assert answer.returncode == 0, f"{program} {' '.join(arguments)}: {answer.stderr}"
        return answer.stdout

    def ask(
        self, program: str, *arguments: str, given: Any = None
    ) -> "subprocess.CompletedProcess[str]":
        """The same, whatever its exit code."""
        built = ROOT / ".cluster/bin" / program
        return subprocess.run(
            [
                str(built) if built.exists() else program,
                f"--kubeconfig={self.kubeconfig}",
                f"--namespace={self.namespace}",
                *arguments,
            ],
            input=given if given is None or isinstance(given, str) else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def upgrade(self, *values: str) -> None:
        """Install or upgrade the release, and wait until it is ready."""
        sets = [argument for value in values for argument in ("--set", value)]
        self.run("helm", "upgrade", "--install", self.release, str(CHART), *ADOPT, *sets,
                 "--wait", "--timeout=120s")  # fmt: skip

    def get(self, *arguments: str) -> dict[str, Any]:
        """An object, or a list of them."""
        found: dict[str, Any] = json.loads(self.run("kubectl", "get", *arguments, "-o", "json"))
        return found

    def can(self, verb: str, what: str, *arguments: str) -> bool:
        """Whether the operator's service account may do something."""
        account = f"system:serviceaccount:{self.namespace}:{self.release}"
        answer = self.ask("kubectl", "auth", "can-i", verb, what, f"--as={account}", *arguments)
        assert answer.stdout.strip() in ("yes", "no"), answer.stderr
        return answer.stdout.strip() == "yes"


def _eventually(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS:.0f} s: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    given = os.environ.get("CACHEROLLOUT_TEST_KUBECONFIG")
    kubeconfig = Path(given) if given else ROOT / ".cluster/nodes/crnode/admin.kubeconfig"
    if not kubeconfig.is_file():
        pytest.skip("no cluster: run `make cluster-up` first")
    if not (ROOT / ".cluster/bin/helm").exists() and shutil.which("helm") is None:
        pytest.skip("no helm: run `make cluster-tools` first")
    one = Installation(kubeconfig, f"packaging-{uuid.uuid4().hex[:8]}")
    one.run("kubectl", "create", "namespace", one.namespace)
    try:
        enforce = "pod-security.kubernetes.io/enforce=restricted"
        one.run("kubectl", "label", "namespace", one.namespace, enforce)
        one.upgrade()
        yield one
    finally:
        # A finalizer that a failed test left would keep the namespace for good.
        for name in one.ask("kubectl", "get", "cacherollouts", "-o", "name").stdout.split():
            one.ask("kubectl", "patch", name, "--type=merge",
                    "-p", '{"metadata":{"finalizers":null}}')  # fmt: skip
        one.ask("helm", "uninstall", one.release)
        one.ask("kubectl", "delete", "namespace", one.namespace, "--wait=false")


def test_two_replicas_are_ready_and_one_works(installation: Installation) -> None:
    deployment = installation.get("deployment", installation.release)
    assert deployment["status"]["readyReplicas"] == 2
    pods = installation.get("pods", "-l", OPERATOR)["items"]
    lease = installation.get("lease", f"{installation.release}-operator")
    assert lease["spec"]["holderIdentity"] in {pod["metadata"]["name"] for pod in pods}


def test_the_release_passes_its_own_test(installation: Installation) -> None:
    assert "Succeeded" in installation.run("helm", "test", installation.release)


@pytest.mark.parametrize(
    ("verb", "what", "arguments"),
    [
        ("list", "secrets", ()),
        ("get", "secret/redis", ()),
        ("create", "pods/exec", ()),
        ("list", "nodes", ()),
        ("get", "deployments.apps", ("--namespace=kube-system",)),
        ("delete", "pods", ()),
        ("create", "rolebindings.rbac.authorization.k8s.io", ()),
        ("create", "serviceaccounts/token", ()),
        ("update", "leases.coordination.k8s.io/another", ()),
    ],
)
def test_the_operator_may_not(
    installation: Installation, verb: str, what: str, arguments: tuple[str, ...]
) -> None:
    assert not installation.can(verb, what, *arguments)


def _pod(app: str, image: str, *arguments: str) -> dict[str, Any]:
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": app,
        "image": f"docker.io/cacherollout/{image}:dev",
        "imagePullPolicy": "IfNotPresent",
        "args": list(arguments),
        "env": [{"name": "CACHE_VERSION", "value": "v1"}],
        "ports": [{"containerPort": 6379}],
        "securityContext": security,
    }
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}}


def _deployment(app: str, image: str, *arguments: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": app}},
            "template": _pod(app, image, *arguments),
        },
    }


def _resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    api_version = "cacherollout.io/v1alpha1"
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


TEAM: list[dict[str, Any]] = [
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "redis"},
        "stringData": {"password": PASSWORD},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "redis"},
        "spec": {"selector": {"app": "redis"}, "ports": [{"port": 6379}]},
    },
    _deployment("redis", "redis", "--requirepass", PASSWORD),
    _deployment("shop-api", "pause"),
    _resource(
        "CacheBackend",
        "main",
        {
            "redis": {"address": "redis:6379", "credentialsSecretRef": {"name": "redis"}},
            "keyPrefixes": ["user:"],
        },
    ),
    _resource(
        "CacheRollout",
        "shop-api",
        {
            "targetRef": {"name": "shop-api"},
            "cache": {
                "backendRef": {"name": "main"},
                "families": [{"name": "user", "key": "user:{version}:{id}"}],
            },
        },
    ),
]


def _ready(installation: Installation) -> dict[str, Any]:
    """The condition Ready of the rollout; empty before the operator has seen it."""
    status = installation.get("cacherollout", "shop-api").get("status", {})
    found = [each for each in status.get("conditions", []) if each["type"] == "Ready"]
    return found[0] if found else {}


def test_a_secret_that_was_not_named_is_asked_for(installation: Installation) -> None:
    installation.run(
        "kubectl", "apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": TEAM}
    )
    installation.run("kubectl", "rollout", "status", "deployment/shop-api", "--timeout=60s")
    _eventually(
        "the rollout says which right is missing",
        lambda: _ready(installation).get("reason") == "Forbidden",
    )
    assert "secrets" in _ready(installation)["message"]
    assert not _is_held(installation)


def test_a_deployment_is_held_with_the_charts_rights_alone(installation: Installation) -> None:
    installation.upgrade("backendSecrets={redis}")
    assert installation.can("get", "secret/redis")
    assert not installation.can("get", "secret/other")
    assert not installation.can("list", "secrets")
    _eventually("the target is held", lambda: _is_held(installation))


def test_the_password_stands_nowhere_but_in_the_secret(installation: Installation) -> None:
    logs = installation.run("kubectl", "logs", "-l", OPERATOR, "--tail=-1")
    events = installation.run("kubectl", "get", "events", "-o", "json")
    rollouts = installation.run("kubectl", "get", "cacherollouts,cachebackends", "-o", "json")
    assert PASSWORD not in logs + events + rollouts


def _is_held(installation: Installation) -> bool:
    spec = installation.get("deployment", "shop-api")["spec"]
    return bool(spec.get("paused", False))


def test_an_upgrade_replaces_the_pods_and_keeps_the_hold(installation: Installation) -> None:
    installation.upgrade("workers=4", "backendSecrets={redis}")
    deployment = installation.get("deployment", installation.release)
    assert "--workers=4" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert _is_held(installation)
    history = installation.run("helm", "history", installation.release, "-o", "json")
    assert json.loads(history)[-1]["status"] == "deployed"


def test_plain_manifests_are_accepted(installation: Installation, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    overlay = tmp_path / "manifests/overlays/shop/kustomization.yaml"
    kustomization = yaml.safe_load(overlay.read_text())
    overlay.write_text(yaml.safe_dump(kustomization | {"namespace": installation.namespace}))
    built = installation.run("kubectl", "kustomize", str(overlay.parent))
    dry_run = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-")
    said = installation.run("kubectl", *dry_run, given=built)
    assert "deployment.apps/cacherollout serverside-applied (server dry run)" in said
    whole = (ROOT / "manifests/install.yaml").read_text()
    said = installation.run(
        "kubectl", *dry_run, given=whole.replace("cacherollout-system", installation.namespace)
    )
    assert "clusterrole.rbac.authorization.k8s.io/cacherollout serverside-applied" in said


def test_a_release_starts_with_the_charts_rights_alone(installation: Installation) -> None:
    installation.run("kubectl", "set", "env", "deployment/shop-api", "RELEASE=2")
    canaries = ("pods", "-l", "cacherollout.io/canary-of")
    _eventually("a canary pod is there", lambda: bool(installation.get(*canaries)["items"]))
    assert _ready(installation)["reason"] != "Forbidden"


def test_a_deleted_rollout_lets_go_of_its_target(installation: Installation) -> None:
    installation.run("kubectl", "delete", "cacherollout", "shop-api", "--timeout=60s")
    assert not _is_held(installation)
    left = installation.get("deployments,controllerrevisions", "-l", "cacherollout.io/rollout")
    assert left["items"] == []


def test_uninstalling_leaves_the_definitions_and_nothing_else(installation: Installation) -> None:
    kept = installation.run("helm", "uninstall", installation.release, "--wait")
    for definition in DEFINITIONS:
        assert definition in kept
        installation.get("crd", definition)
    kinds = "deployment,service,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget"
    left = installation.get(kinds, "-l", f"app.kubernetes.io/instance={installation.release}")
    assert left["items"] == []
