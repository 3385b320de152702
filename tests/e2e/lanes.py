"""A lane: a namespace with Redis, PostgreSQL, the reference API under light load, its own operator.

Tests run side by side, one in each lane. A lane is not rebuilt between tests: its CacheRollouts are
deleted, and whatever healthy release serves then is what the next test starts from.
"""

import contextlib
import json
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.clusters import ROOT, Cluster, Object, until
from tests.e2e.watching import CANARY, Watch, is_ready, version_of

API = "blingauto-api"
REPLICAS = 3
RELEASE = "cacherollout"
HEALTHY = ("v2", "v3")
READY_SECONDS = 150.0
PASSWORD = "only-for-the-demo"
_CHART = ROOT / "examples" / "blingauto-api" / "chart"
_SHOP = ROOT / "examples" / "shop"
_OPERATOR_CHART = ROOT / "charts" / "cacherollout"
_CPU = "10m"
_LOAD = {
    "LOAD_REQUESTS_PER_SECOND": "35",
    "LOAD_USERS": "150",
    "LOAD_SERVICES": "40",
    "LOAD_RAMP_SECONDS": "1",
    "LOAD_PRIME_SECONDS": "15",
    "LOAD_DURATION_SECONDS": "7200",
}
_SEED = (("SEED_USERS", 300), ("SEED_SERVICES", 40), ("SEED_BOOKINGS", 1500))
_ROLLOUT: Object = {
    "apiVersion": "cacherollout.io/v1alpha1",
    "kind": "CacheRollout",
    "metadata": {"name": API},
    "spec": {
        "targetRef": {"name": API},
        "cache": {
            "backendRef": {"name": "main"},
            "families": [
                {
                    "name": "user",
                    "key": "user:{version}:{id}",
                    "required": ["id", "email", "role"],
                    "warm": "Replay",
                    "replayPath": "/api/users/{id}",
                },
                {"name": "service", "key": "service:{version}:{id}", "required": ["id", "name"]},
                {"name": "bookings", "key": "booking:{version}:list:{id}"},
            ],
        },
        "canary": {"replicas": 1, "maxReplicas": 1},
        "metrics": {"interval": "1s"},
        # Wide, so that 35 requests a second give a verdict within seconds and a busy machine,
        # where Redis' answers come too late now and then, is not mistaken for a bad release.
        "gates": {
            "cacheErrorRate": {"target": "5%", "alert": "30%"},
            "httpErrorRate": {"target": "5%", "alert": "30%"},
            "cacheLatency": {"p95": "250ms", "alert": "1s"},
        },
        "originLoad": {"budget": 5},
        "soak": "5s",
        "deadline": "120s",
        "rollbackWindow": "10s",
    },
}


@dataclass(slots=True)
class Lane:
    """One lane; `namespace` is the shop's, `system` the operator's."""

    cluster: Cluster
    namespace: str
    watch: Watch = field(init=False)
    began_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.cluster, self.namespace, API)
        self.began_at = _now()

    @property
    def system(self) -> str:
        """The operator's namespace."""
        return f"{self.namespace}-operator"

    # What people type ---------------------------------------------------------------------------

    def kubectl(self, *arguments: str, given: Any = None) -> str:
        """kubectl in the shop's namespace."""
        return self.cluster.run("kubectl", "-n", self.namespace, *arguments, given=given)

    def apply(self, manifest: Object) -> None:
        """`kubectl apply` of one object."""
        self.kubectl("apply", "-f", "-", given=manifest)

    def hold(self, name: str = API, **spec: Any) -> None:
        """Apply a CacheRollout, with parts of its spec replaced."""
        manifest = json.loads(json.dumps(_ROLLOUT))
        manifest["metadata"]["name"] = name
        manifest["spec"].update(spec)
        self.apply(manifest)

    def hold_and_wait(self, **spec: Any) -> str:
        """Apply a CacheRollout and wait for the hold; gives the stable cache version."""
        self.hold(**spec)
        status = self.reach("Idle", seconds=READY_SECONDS)
        # What was decided is stored before it is done.
        until("the target is held", lambda: self.target()["spec"].get("paused"))
        self.reach_reason("Ready", "UpToDate")
        return str(status["stable"]["version"])

    def release(self, release: str, *more: str) -> None:
        """`kubectl set env` of the release, as a deployment does it."""
        self.kubectl("set", "env", f"deployment/{API}", f"BLINGAUTO_RELEASE={release}", *more)

    def release_next(self) -> str:
        """A healthy release that differs from the one that serves; gives its name."""
        name = self.other_release()
        self.release(name)
        return name

    def helm_upgrade(self, *arguments: str) -> str:
        """`helm upgrade` of the API."""
        return self.cluster.run(
            "helm", "upgrade", "--install", API, str(_CHART), "-n", self.namespace,
            "--reuse-values", *arguments,
        )  # fmt: skip

    def cacherollout(self, *arguments: str) -> int:
        """The command line, as people use it; gives its exit code."""
        verb, *rest = arguments
        answer = self.cluster.ask(
            str(ROOT / ".venv" / "bin" / "cacherollout"), verb, API, "-n", self.namespace, *rest
        )
        assert "Traceback" not in answer.stderr, answer.stderr
        return answer.returncode

    # What the cluster says ----------------------------------------------------------------------

    def rollout(self, name: str = API) -> Object:
        """The CacheRollout as stored; empty when there is none."""
        group = "/apis/cacherollout.io/v1alpha1"
        path = f"{group}/namespaces/{self.namespace}/cacherollouts/{name}"
        return self.cluster.read(path) or {}

    def status(self, name: str = API) -> Object:
        """Its status."""
        return self.rollout(name).get("status") or {}

    def condition(self, kind: str, name: str = API) -> Object:
        """One of its conditions; empty before it was written."""
        found = self.status(name).get("conditions") or []
        return next((each for each in found if each["type"] == kind), {})

    def reach(self, *phases: str, seconds: float = 90.0, attempt: int = 0) -> Object:
        """Wait for one of these phases; gives the status."""

        def look() -> Object | None:
            status = self.status()
            is_new = status.get("attempt", 0) >= attempt
            return status if is_new and status.get("phase") in phases else None

        return until(f"phase {' or '.join(phases)}", look, seconds)

    def reach_reason(
        self, kind: str, reason: str, name: str = API, seconds: float = 60.0
    ) -> Object:
        """Wait for a condition's reason; gives the condition."""

        def look() -> Object | None:
            found = self.condition(kind, name)
            return found if found.get("reason") == reason else None

        return until(f"{kind} with reason {reason} on {name}", look, seconds)

    def deployment(self, name: str) -> Object | None:
        """A Deployment of the shop."""
        found: Object | None = self.cluster.read(
            f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"
        )
        return found

    def target(self) -> Object:
        """The Deployment under test."""
        found = self.deployment(API)
        assert found is not None
        return found

    def has_canary_pod(self) -> bool:
        """Whether a canary pod was created."""
        return any(CANARY in pod["metadata"]["labels"] for pod in self.pods())

    def pods(self) -> list[Object]:
        """Every pod of the API, canary included, that is not about to go."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        items = self.cluster.read(f"{path}?labelSelector=app.kubernetes.io/name={API}")["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def target_pods(self) -> list[Object]:
        """Ready pods outside the canary."""
        return [
            pod for pod in self.pods() if CANARY not in pod["metadata"]["labels"] and is_ready(pod)
        ]

    def serving_release(self) -> str:
        """The release that the target's template asks for."""
        return env_of(self.target(), "BLINGAUTO_RELEASE") or ""

    def other_release(self) -> str:
        """A healthy release that is not the one in the template."""
        return next(name for name in HEALTHY if name != self.serving_release())

    def events(self, name: str = API) -> Counter[str]:
        """How often each reason was said about the present CacheRollout of that name."""
        uid, said = self.rollout(name)["metadata"]["uid"], Counter[str]()
        for event in self.cluster.read(f"/api/v1/namespaces/{self.namespace}/events")["items"]:
            if event["involvedObject"].get("uid") == uid:
                said[event["reason"]] += event.get("count") or 1
        return said

    def cached_keys(self) -> dict[str, set[str]]:
        """Keys in Redis by cache version."""
        listed = self.kubectl(
            "exec", "deployment/redis", "--", "redis-cli", "--no-auth-warning",
            "-a", PASSWORD, "--scan",
        )  # fmt: skip
        found: dict[str, set[str]] = {}
        for key in listed.split():
            family, version, rest = key.split(":", 2)
            found.setdefault(version, set()).add(f"{family}:{rest}")
        return found

    def users(self, since: float) -> Object:
        """What users saw since a moment (seconds since the epoch)."""
        path = f"/api/v1/namespaces/{self.namespace}/services/load:8080/proxy"
        report: Object = self.cluster.read(f"{path}/report?since={since}")
        return report

    def operators(self) -> list[Object]:
        """The operator's pods that are not about to go."""
        items = self.cluster.read(f"/api/v1/namespaces/{self.system}/pods")["items"]
        return [
            pod
            for pod in items
            if pod["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "cacherollout"
            and "deletionTimestamp" not in pod["metadata"]
        ]

    def leader(self) -> str:
        """Name of the operator's pod that holds the Lease."""
        leases = "/apis/coordination.k8s.io/v1"
        path = f"{leases}/namespaces/{self.system}/leases/{RELEASE}-operator"
        lease = self.cluster.read(path) or {"spec": {}}
        return str(lease["spec"].get("holderIdentity") or "")

    def kill_operators(self, *names: str) -> None:
        """End operator pods without a word, as a lost machine does: no signal to say goodbye on.

        Deleting a pod, however forced, gives its process a moment. So it is killed first, where
        this machine shows it, as on the clusters that `python3 -m cluster` makes.
        """
        for name in names:
            for line in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if f"--identity={name}".encode() in line.read_bytes().split(b"\0"):
                        os.kill(int(line.parent.name), signal.SIGKILL)
        self.cluster.run(
            "kubectl", "-n", self.system, "delete", "pod", *names, "--grace-period=0", "--force",
            "--wait=false",
        )  # fmt: skip

    # What people ask about ----------------------------------------------------------------------

    def expect_undone(self, version: str, stable: str, seconds: float = 30.0) -> None:
        """Nothing of a release on trial is left: no canary, no endpoint, no key."""
        until("the canary is gone", lambda: not self.has_canary(), seconds)
        until(f"no key of {version}", lambda: version not in self.cached_keys(), seconds)
        assert {version_of(pod) for pod in self.pods()} == {stable}
        assert not self.watch.has_canary_endpoint

    def has_canary(self) -> bool:
        """Whether the canary Deployment or one of its pods is there."""
        return self.has_canary_pod() or self.deployment(f"{API}-canary") is not None

    def expect_never_fewer(self, than: int = REPLICAS) -> None:
        """The operator took no serving pod away without a replacement."""
        assert self.watch.fewest is None or self.watch.fewest >= than, (
            f"only {self.watch.fewest} of {than} pods served at one moment"
        )

    def expect_users_unharmed(self) -> None:
        """Users met nothing that a release does to them.

        What a busy machine does is left out: answers that took too long, and the database's queue.
        """
        users = self.users(self.began_at)
        kinds = users["errors_by_kind"]
        harm = sum(count for kind, count in kinds.items() if kind not in ("timeout", "http_503"))
        assert users["broken"] == 0
        assert harm <= 0.002 * users["requests"], kinds

    def describe(self) -> str:
        """Everything that helps to understand a failure."""
        parts = [
            self.cluster.ask("kubectl", "-n", self.namespace, *arguments).stdout
            for arguments in (
                ("get", "cacherollouts", "-o", "yaml", "--show-managed-fields=false"),
                ("get", "deployments,pods,hpa", "-o", "wide"),
                ("get", "events", "--sort-by=.lastTimestamp"),
            )
        ]
        log = self.cluster.ask(
            "kubectl", "-n", self.system, "logs", "-l", "app.kubernetes.io/name=cacherollout",
            "--tail=60", "--prefix",
        )  # fmt: skip
        return "\n".join([*(part[-9000:] for part in parts), log.stdout[-14000:]])

    # Set-up -------------------------------------------------------------------------------------

    def install(self) -> None:
        """Everything a lane needs; also brings back what a broken test left behind."""
        for name in (self.namespace, self.system):
            self.cluster.run("kubectl", "apply", "-f", "-", given=_namespace(name))
        self.release_rollouts()
        self.install_stores()
        self.install_operator()
        for name in ("postgres", "redis"):
            self.kubectl("rollout", "status", f"deployment/{name}", "--timeout=150s")
        self.install_api()
        self.apply(backend())
        for manifest in _shop("load"):
            self.apply(_with_load(manifest))
        operator = f"deployment/{RELEASE}"
        for where, what in ((self.namespace, "deployment/load"), (self.system, operator)):
            self.cluster.run("kubectl", "-n", where, "rollout", "status", what, "--timeout=150s")
        until("users arrive", lambda: self.users(0.0)["phase"] == "running", READY_SECONDS)

    def install_stores(self) -> None:
        """PostgreSQL and Redis, as the demo has them."""
        for name in ("postgres", "redis"):
            for manifest in _shop(name):
                self.apply(manifest)

    def install_operator(self) -> None:
        """The operator by its chart, with the chart's rights in this lane alone."""
        image = self.cluster.images.get("docker.io/cacherollout/operator:dev", "given")
        self.cluster.run(
            "helm", "upgrade", "--install", RELEASE, str(_OPERATOR_CHART), "-n", self.system,
            "--set", f"watchNamespaces={{{self.namespace}}}",
            "--set", "crds.install=false",
            "--set", "image.tag=dev", "--set", f"resources.requests.cpu={_CPU}",
            "--set", "backendSecrets={redis-operator,another}",
            # A newer image under the same tag reaches a lane that is there already.
            "--set-string", f"podAnnotations.image={image[:16]}",
        )  # fmt: skip

    def install_api(self) -> None:
        """The API at release v2, complete and held by nobody."""
        seeds = [
            argument
            for index, (name, value) in enumerate(_SEED)
            for argument in (
                "--set", f"env[{index}].name={name}",
                "--set-string", f"env[{index}].value={value}",
            )
        ]  # fmt: skip
        self.cluster.run(
            "helm", "upgrade", "--install", API, str(_CHART), "-n", self.namespace,
            "--force-conflicts",
            "--set", "release=v2", "--set", f"replicas={REPLICAS}",
            "--set", "cache.ttlSeconds=3600", "--set", f"resources.requests.cpu={_CPU}", *seeds,
        )  # fmt: skip
        self.kubectl("patch", "deployment", API, "--type=merge", "-p",
                     json.dumps({"spec": {"paused": False, "replicas": REPLICAS}}))  # fmt: skip
        self.kubectl("rollout", "status", f"deployment/{API}", "--timeout=150s")

    def release_rollouts(self) -> None:
        """Delete every CacheRollout, by force where a failed test left one that cannot go."""
        listed = self.cluster.ask("kubectl", "-n", self.namespace, "get", "cacherollouts", "-oname")
        for name in listed.stdout.split():
            deleting = ("-n", self.namespace, "delete", name, "--timeout=100s")
            if self.cluster.ask("kubectl", *deleting).returncode:
                self.kubectl("patch", name, "--type=merge",
                             "-p", '{"metadata":{"finalizers":null}}')  # fmt: skip

    def begin(self) -> None:
        """A test starts: nothing is held, a healthy release serves, and the watch is on."""
        if not self.is_at_rest():
            self.install()
        self._give_back_to_helm()
        self.began_at = _now()
        self.watch = Watch(self.cluster, self.namespace, API)
        self.watch.start()

    def end(self) -> None:
        """A test is over."""
        self.watch.stop()
        self.release_rollouts()

    def _give_back_to_helm(self) -> None:
        """Let Helm alone own what another test applied by other means."""
        metadata = self.target()["metadata"]
        kept = [
            each
            for each in metadata["managedFields"]
            if each["manager"] == "helm" or each.get("subresource")
        ]
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": None}
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{API}"
        self.cluster.patch_json(
            path, {"metadata": {"managedFields": kept, "annotations": annotations}}
        )

    def is_at_rest(self) -> bool:
        """Whether the lane is as `install` left it, save for the release and its cache version."""
        target = self.target()
        status, spec = target.get("status", {}), target["spec"]
        return (
            not self.rollout()
            and not spec.get("paused")
            and spec["replicas"] == REPLICAS
            and status.get("observedGeneration") == target["metadata"]["generation"]
            and status.get("updatedReplicas") == status.get("readyReplicas") == REPLICAS
            and env_of(target, "BLINGAUTO_RELEASE") in HEALTHY
            and not self.has_canary()
        )

    def remove(self) -> None:
        """Take the lane down, rollouts first so that nothing waits for a finalizer."""
        self.release_rollouts()
        for name in (self.namespace, self.system):
            self.cluster.run("kubectl", "delete", "namespace", name, "--wait=false")


def backend(name: str = "main", **redis: Any) -> Object:
    """The CacheBackend of a lane, with parts of its `redis` replaced."""
    manifest = yaml.safe_load((_SHOP / "cachebackend.yaml").read_text())
    manifest["metadata"]["name"] = name
    manifest["spec"]["redis"].update(redis)
    return dict(manifest)


def env_of(deployment: Object, name: str) -> str | None:
    """A literal environment variable of a Deployment's template."""
    entries = deployment["spec"]["template"]["spec"]["containers"][0].get("env") or []
    return next((each.get("value") for each in entries if each["name"] == name), None)


def owners_of(deployment: Object) -> dict[str, Any]:
    """managedFields by manager."""
    return {each["manager"]: each["fieldsV1"] for each in deployment["metadata"]["managedFields"]}


def _namespace(name: str) -> Object:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _shop(name: str) -> list[Object]:
    """Objects of a file of the example shop; a node with little room takes several of them."""
    manifests = list(yaml.safe_load_all((_SHOP / f"{name}.yaml").read_text()))
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                container["resources"]["requests"]["cpu"] = _CPU
    return manifests


def _with_load(manifest: Object) -> Object:
    if manifest["kind"] == "Deployment":
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        kept = [each for each in container["env"] if each["name"] not in _LOAD]
        container["env"] = [*kept, *({"name": k, "value": v} for k, v in _LOAD.items())]
    return manifest


def _now() -> float:
    return time.time()  # noqa: TID251 - compared with times that the cluster reports
