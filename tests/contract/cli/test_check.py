"""`kubectl cacherollout check` on a real cluster: the example shop, its operator, a small load."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from cacherollout.core.readiness import POINTS

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "examples" / "shop"
READY = "--timeout=180s"
LOAD = {
    "LOAD_REQUESTS_PER_SECOND": "20",
    "LOAD_USERS": "100",
    "LOAD_SERVICES": "20",
    "LOAD_PRIME_SECONDS": "2",
    "LOAD_DURATION_SECONDS": "900",
}
SEEDS = {"SEED_USERS": "200", "SEED_SERVICES": "20", "SEED_BOOKINGS": "500"}
DEPENDING_ON_LOAD = {"cacheHitRate", "cacheErrorRate", "cacheLatency", "httpErrorRate"}

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, slots=True)
class Shop:
    """One namespace of the example shop, under the hold."""

    kubeconfig: Path
    namespace: str

    def run(self, program: str, *arguments: str, given: str | None = None) -> str:
        done = self.ask(program, *arguments, given=given)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def ask(
        self,
        program: str,
        *arguments: str,
        given: str | None = None,
        kubeconfig: Path | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        path = [str(ROOT / ".venv" / "bin"), str(ROOT / ".cluster" / "bin"), os.environ["PATH"]]
        environment = {
            "PATH": os.pathsep.join(path),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
        }
        return subprocess.run(
            [program, *arguments],
            env={**os.environ, **environment, "COLUMNS": "120"},
            input=given,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return self.run("kubectl", "-n", self.namespace, *arguments, given=given)

    def patch(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def check(self, kubeconfig: Path | None = None) -> tuple[int, dict[str, dict[str, Any]]]:
        """Exit code and items of the plug-in, as kubectl finds it."""
        done = self.ask(
            "kubectl", "cacherollout", "check", "blingauto-api", "-n", self.namespace,
            "-o", "json", kubeconfig=kubeconfig,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        said = json.loads(done.stdout)
        return done.returncode, {item["name"]: item for item in said["items"]}

    def settle(self) -> None:
        """Wait until the operator has acted on the newest spec."""
        generation = self.kubectl(
            "get", "cacherollout", "blingauto-api", "-o", "jsonpath={.metadata.generation}"
        )
        self.kubectl(
            "wait", "cacherollout/blingauto-api", READY,
            f"--for=jsonpath={{.status.observedGeneration}}={generation}",
        )  # fmt: skip

    def install(self) -> None:
        self.run("kubectl", "create", "namespace", self.namespace)
        for name in ("postgres", "redis"):
            self.kubectl("apply", "-f", str(SHOP / f"{name}.yaml"))
        seeds = [
            part
            for index, (name, value) in enumerate(SEEDS.items())
            for part in (
                "--set",
                f"env[{index}].name={name}",
                "--set-string",
                f"env[{index}].value={value}",
            )
        ]
        self.run(
            "helm", "-n", self.namespace, "install", "blingauto-api",
            str(ROOT / "examples" / "blingauto-api" / "chart"), "--set", "replicas=2",
            "--set", "cache.ttlSeconds=120", "--set", "resources.requests.cpu=10m", *seeds,
        )  # fmt: skip
        self.run(
            "helm", "-n", self.namespace, "install", "cacherollout",
            str(ROOT / "charts" / "cacherollout"), "--set", "crds.install=false",
            "--set", "replicas=1", "--set", "image.tag=dev", "--set", "backendSecrets={redis-operator}",
            "--set", "resources.requests.cpu=10m",
        )  # fmt: skip
        self.kubectl("apply", "-f", "-", given=_small_load())
        backend = yaml.safe_load((SHOP / "cachebackend.yaml").read_text())
        # Not by its name, so that the cache is found from outside the cluster's DNS as well.
        address = self.kubectl("get", "service", "redis", "-o", "jsonpath={.spec.clusterIP}")
        backend["spec"]["redis"]["address"] = f"{address}:6379"
        self.kubectl("apply", "-f", "-", given=json.dumps(backend))
        self.kubectl("apply", "-f", str(SHOP / "cacherollout.yaml"))
        for name in ("redis", "postgres", "blingauto-api", "cacherollout", "load"):
            self.kubectl("rollout", "status", f"deployment/{name}", READY)
        self.kubectl(
            "wait", "cacherollout/blingauto-api", "--for=jsonpath={.status.phase}=Idle", READY
        )

    def remove(self) -> None:
        deleting = ("-n", self.namespace, "delete", "cacherollouts", "--all", "--timeout=60s")
        if self.ask("kubectl", *deleting).returncode:
            # Nor where the installation itself failed may the namespace stay behind.
            self.ask("kubectl", "-n", self.namespace, "patch", "cacherollout", "blingauto-api",
                     "--type=merge", "-p", '{"metadata":{"finalizers":null}}')  # fmt: skip
        self.run("kubectl", "delete", "namespace", self.namespace, "--wait=false")

    def as_operator(self, directory: Path) -> Path:
        """A kubeconfig with the rights of the operator's service account, and no others."""
        config = json.loads(
            self.run("kubectl", "config", "view", "--raw", "--minify", "-o", "json")
        )
        token = self.kubectl("create", "token", "cacherollout").strip()
        config["users"][0]["user"] = {"token": token}
        path = directory / "operator.kubeconfig"
        path.write_text(json.dumps(config))
        return path


def _small_load() -> str:
    documents = list(yaml.safe_load_all((SHOP / "load.yaml").read_text()))
    container = documents[1]["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each["value"] for each in container["env"]}
    container["env"] = [{"name": name, "value": value} for name, value in (env | LOAD).items()]
    container["resources"]["requests"]["cpu"] = "10m"
    return str(yaml.safe_dump_all(documents))


@pytest.fixture(scope="module")
def shop(kubeconfig: Path, definitions: None) -> Iterator[Shop]:
    made = Shop(kubeconfig, f"check-{uuid4().hex[:6]}")
    try:
        made.install()
        yield made
    finally:
        made.remove()


def test_a_shop_in_order_is_ready_in_the_operators_eyes(shop: Shop, tmp_path: Path) -> None:
    """With the operator's own rights: nothing is left unchecked, nothing that stays is wrong."""
    _, items = shop.check(shop.as_operator(tmp_path))
    assert list(items) == list(POINTS)
    wrong = {
        name: item
        for name, item in items.items()
        if item["outcome"] in ("failed", "not checked") and name not in DEPENDING_ON_LOAD
    }
    assert wrong == {}
    assert items["hold"]["message"] == "held by this CacheRollout; v1 is stable"
    assert "gets v2 instead of v1" in items["version"]["message"]
    assert items["canary"]["outcome"] == "warning"  # one of three is a large share
    judged = {items[name]["outcome"] for name in DEPENDING_ON_LOAD}
    assert "not checked" not in judged


def test_the_table_is_for_people(shop: Shop) -> None:
    done = shop.ask("kubectl", "cacherollout", "check", "blingauto-api", "-n", shop.namespace)
    assert all(f" {name} " in done.stdout for name in POINTS), done.stdout + done.stderr
    assert " of 100 (" in done.stdout


def test_a_schema_that_changed_under_the_same_version_fails(shop: Shop) -> None:
    path = str(SHOP / "cacherollout.yaml")
    spec = yaml.safe_load(Path(path).read_text())["spec"]["cache"]
    changed = [{**spec["families"][0], "schemaVersion": "other"}, *spec["families"][1:]]
    try:
        shop.patch(
            "cacherollout", "blingauto-api", {"cache": {"version": "v1", "families": changed}}
        )
        shop.settle()
        code, items = shop.check()
    finally:
        shop.kubectl("apply", "-f", path)
        shop.settle()
    assert (code, items["version"]["outcome"]) == (1, "failed")
    assert "the schema of user changed" in items["version"]["message"]


def test_a_cache_out_of_reach_is_not_called_broken(shop: Shop) -> None:
    """As from a laptop: the name means something in the cluster alone."""
    backend = json.loads(shop.kubectl("get", "cachebackend", "main", "-o", "json"))["spec"]["redis"]
    try:
        shop.patch("cachebackend", "main", {"redis": {"address": "redis.nowhere.invalid:6379"}})
        done = shop.ask("kubectl", "cacherollout", "check", "blingauto-api", "-n", shop.namespace)
        _, items = shop.check()
    finally:
        shop.patch("cachebackend", "main", {"redis": {"address": backend["address"]}})
    assert {items[name]["outcome"] for name in ("access", "keys", "memory")} == {"not checked"}
    assert "python3 -m cacherollout check blingauto-api" in done.stdout


def test_a_rollout_that_is_not_there(shop: Shop) -> None:
    done = shop.ask("kubectl", "cacherollout", "check", "nope", "-n", shop.namespace)
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no CacheRollout nope" in done.stderr
