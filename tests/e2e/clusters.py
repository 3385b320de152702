"""The real cluster: kubectl and helm as people type them, and reads that cost no process.

Only a cluster that `python3 -m cluster` made is used, or a given one that is named on purpose.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kubernetes import config

from cluster import records
from cluster.layout import work_tree

ROOT = Path(__file__).resolve().parents[2]
NAMED = "CACHEROLLOUT_E2E_CLUSTER"
"""Environment variable with the name of the cluster; it must be set for a given cluster."""
POLL_SECONDS = 0.3
Seen = TypeVar("Seen")
Object = dict[str, Any]


@dataclass(slots=True)
class Cluster:
    """One cluster, seen with an administrator's rights."""

    kubeconfig: Path
    images: dict[str, str]
    """Key of each image that was loaded, by its name in manifests."""
    _pool: Any = field(init=False)
    _base: str = field(init=False)
    _headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        client = config.new_client_from_config(str(self.kubeconfig))
        self._pool = client.rest_client.pool_manager
        self._base = client.configuration.host
        auth = client.configuration.auth_settings()
        self._headers = {each["key"]: each["value"] for each in auth.values()}

    def read(self, path: str) -> Any:
        """What the API server gives for a path; None where there is nothing."""
        answer = self._pool.request("GET", self._base + path, headers=self._headers)
        if answer.status == 404:
            return None
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.data[:300]!r}"
        return json.loads(answer.data)

    def read_text(self, path: str) -> str:
        """The same for what is not JSON."""
        answer = self._pool.request("GET", self._base + path, headers=self._headers)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.data[:300]!r}"
        return str(answer.data.decode())

    def patch_json(self, path: str, patch: Object) -> None:
        """A merge patch that no client-side tool would let through."""
        headers = {**self._headers, "Content-Type": "application/merge-patch+json"}
        answer = self._pool.request(
            "PATCH", self._base + path, headers=headers, body=json.dumps(patch)
        )
        assert answer.status == 200, f"PATCH {path}: {answer.status} {answer.data[:300]!r}"

    def follow(self, path: str, is_over: threading.Event) -> Iterator[Object]:
        """Every object under a path as it is, and again whenever it changes, until it is over.

        One that went away comes once more, with `gone` set.
        """
        known: dict[str, Object] = {}
        while not is_over.is_set():
            listed = self.read(path)
            present = {each["metadata"]["uid"]: each for each in listed["items"]}
            for uid in known.keys() - present.keys():
                yield {**known[uid], "gone": True}
            known = present
            yield from present.values()
            version = listed["metadata"]["resourceVersion"]
            for event in self._watch(path, version):
                found = event["object"]
                if event["type"] == "ERROR":
                    break
                known[found["metadata"]["uid"]] = found
                if event["type"] == "DELETED":
                    del known[found["metadata"]["uid"]]
                    found = {**found, "gone": True}
                yield found

    def _watch(self, path: str, version: str) -> Iterator[Object]:
        """Events of at most two seconds, so that whoever follows can end."""
        url = f"{self._base}{path}{'&' if '?' in path else '?'}watch=1&timeoutSeconds=2"
        answer = self._pool.request(
            "GET",
            f"{url}&resourceVersion={version}",
            headers=self._headers,
            preload_content=False,
        )
        try:
            for line in answer:
                yield json.loads(line)
        finally:
            answer.release_conn()

    def run(self, program: str, *arguments: str, given: Any = None) -> str:
        """Output of a program that speaks to the cluster; the test fails with what it said."""
        answer = self.ask(program, *arguments, given=given)
        assert answer.returncode == 0, f"{program} {' '.join(arguments)}: {answer.stderr}"
        return answer.stdout

    def ask(
        self, program: str, *arguments: str, given: Any = None
    ) -> "subprocess.CompletedProcess[str]":
        """The same, whatever its exit code."""
        built = ROOT / ".cluster" / "bin" / program
        return subprocess.run(
            [str(built) if built.exists() else program, *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            cwd=ROOT,
            input=given if given is None or isinstance(given, str) else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


def find_cluster() -> Cluster:
    """The cluster to test on; fails with the fix where there is none that may be used."""
    named = os.environ.get(NAMED)
    layout = work_tree()
    record = records.load(layout.node(named or "crnode"))
    if record is None or not record.is_complete:
        pytest.fail("There is no cluster: run `make cluster-up` first.", pytrace=False)
    if record.provider == "given" and not named:
        pytest.fail(
            "This cluster was not made by `python3 -m cluster up`. To test on it all the same, "
            f"say so by name: {NAMED}={record.name}.",
            pytrace=False,
        )
    found = subprocess.run(
        ["python3", "-m", "cluster", "kubeconfig", "--name", record.name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return Cluster(Path(found.stdout.strip()), record.images)


def until(what: str, look: Callable[[], Seen | None], seconds: float = 60.0) -> Seen:
    """What `look` gives as soon as that is something; fails past the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)
