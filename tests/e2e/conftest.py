"""Lanes for the end-to-end ring: one a worker, made once, described when a test in it fails."""

import fcntl
import os
import string
from collections.abc import Iterator

import pytest

from tests.e2e.clusters import ROOT, Cluster, find_cluster
from tests.e2e.lanes import Lane

KEEP = "CACHEROLLOUT_E2E_KEEP"
"""Environment variable: leave the lanes in the cluster, so that the next run starts at once."""


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, with the definitions of this work tree."""
    found = find_cluster()
    found.run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", "crds")
    found.run("kubectl", "wait", "--for=condition=Established", "-f", "crds")
    return found


@pytest.fixture(scope="session")
def own_lane(cluster: Cluster, worker_id: str) -> Iterator[Lane]:
    """The lane of this worker; nobody else may use it meanwhile."""
    number = 0 if worker_id == "master" else int(worker_id.removeprefix("gw"))
    name = f"e2e-{string.ascii_lowercase[number]}"
    lock = ROOT / ".cluster" / "locks" / f"{name}.lock"
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(f"Another run uses {name}; wait for its end.", pytrace=False)
        lane = Lane(cluster, name)
        try:
            lane.install()
            yield lane
        finally:
            if not os.environ.get(KEEP):
                lane.remove()


@pytest.fixture
def lane(own_lane: Lane) -> Iterator[Lane]:
    """The lane, with nothing held and a healthy release serving."""
    own_lane.begin()
    yield own_lane
    own_lane.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Say what the cluster looked like when a test failed."""
    report = yield
    lane = getattr(item, "funcargs", {}).get("lane")
    if report.failed and call.when == "call" and lane is not None:
        report.sections.append((f"lane {lane.namespace}", lane.describe()))
    return report
