"""A held Deployment still scales, heals, and is applied by whoever owns it; nothing leaks."""

from collections.abc import Iterator

import pytest

from tests.e2e.clusters import ROOT, Cluster, Object, until
from tests.e2e.lanes import API, REPLICAS, Lane, env_of
from tests.e2e.watching import version_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def metrics_server(cluster: Cluster) -> Iterator[None]:
    """The pods' resource metrics, without which no autoscaler decides anything."""
    cluster.run("kubectl", "apply", "-f", str(ROOT / "cluster" / "metrics-server.yaml"))
    cluster.run(
        "kubectl", "-n", "kube-system", "rollout", "status", "deployment/metrics-server",
        "--timeout=150s",
    )  # fmt: skip
    yield
    cluster.run("kubectl", "delete", "-f", str(ROOT / "cluster" / "metrics-server.yaml"))


def test_a_killed_pod_comes_back_as_it_was(lane: Lane) -> None:
    stable = lane.hold_and_wait(deadline="300s")
    release = lane.serving_release()
    lane.release("v4-never-ready")
    lane.reach("Warming")
    lost = lane.target_pods()[0]["metadata"]["name"]
    lane.kubectl("delete", "pod", lost, "--wait=false")
    until("the pod is replaced", lambda: len(_others(lane, lost)) == REPLICAS, 120)
    for pod in _others(lane, lost):
        entries = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
        assert entries["BLINGAUTO_RELEASE"] == release
    assert {version_of(pod) for pod in lane.target_pods()} == {stable}
    assert lane.status()["phase"] == "Warming"


def _others(lane: Lane, lost: str) -> list[Object]:
    return [pod for pod in lane.target_pods() if pod["metadata"]["name"] != lost]


@pytest.mark.usefixtures("metrics_server")
def test_an_autoscaler_scales_the_stable_release(lane: Lane) -> None:
    stable = lane.hold_and_wait(deadline="300s")
    lane.release("v4-never-ready")
    lane.reach("Warming")
    # A pod asks for 10m of a core and uses more, so the autoscaler wants as many as it may have.
    lane.kubectl("autoscale", "deployment", API, "--min=3", "--max=4", "--cpu-percent=10")
    try:
        until("a fourth pod serves", lambda: len(lane.target_pods()) == REPLICAS + 1, 180)
        assert {version_of(pod) for pod in lane.target_pods()} == {stable}
        assert lane.target()["spec"]["paused"] is True
        assert lane.status()["phase"] == "Warming"
    finally:
        lane.kubectl("delete", "hpa", API)
        lane.kubectl("scale", "deployment", API, f"--replicas={REPLICAS}")


def _manifest(lane: Lane, *values: str) -> str:
    """The API's Deployment as its chart renders it, for those who apply it by other means."""
    sets = [argument for value in values for argument in ("--set", value)]
    given = lane.cluster.run("helm", "-n", lane.namespace, "get", "values", API, "-o", "yaml")
    return lane.cluster.run(
        "helm", "template", API, "examples/blingauto-api/chart", "-n", lane.namespace,
        "--values", "-", *sets, "--show-only", "templates/deployment.yaml", given=given,
    )  # fmt: skip


@pytest.mark.parametrize(
    "apply", [("--server-side", "--field-manager=gitops"), ()], ids=["server-side", "client-side"]
)
def test_applying_again_is_never_in_conflict_with_the_hold(
    lane: Lane, apply: tuple[str, ...]
) -> None:
    release = f"release={lane.serving_release()}"
    force = ("--force-conflicts",) if apply else ()
    stable = lane.hold_and_wait(deadline="300s")
    # The team's tool takes over from Helm, value by value; from then on it never forces.
    lane.kubectl("apply", *apply, *force, "-f", "-", given=_manifest(lane, release))
    assert lane.status()["phase"] == "Idle"
    assert lane.target()["spec"]["paused"] is True

    broken = _manifest(lane, "release=v4-never-ready")
    lane.kubectl("apply", *apply, *force, "-f", "-", given=broken)
    lane.reach("Warming")
    assert {version_of(pod) for pod in lane.target_pods()} == {stable}
    lane.kubectl("apply", *apply, "-f", "-", given=broken)
    assert lane.status()["attempt"] == 1, "the same manifest again is the same release"
    assert lane.target()["spec"]["paused"] is True

    lane.kubectl("apply", *apply, "-f", "-", given=_manifest(lane, release))
    lane.reach("Idle")
    lane.expect_undone(f"v{int(stable[1:]) + 1}", stable)
    assert lane.target()["spec"]["paused"] is True
    lane.expect_never_fewer()


def test_helm_upgrades_before_and_after_a_late_roll_back(lane: Lane) -> None:
    release, other = lane.serving_release(), lane.other_release()
    stable = lane.hold_and_wait(rollbackWindow="100s")
    lane.helm_upgrade("--set", f"release={other}")
    lane.reach("Observing", seconds=200)
    lane.helm_upgrade("--set", f"release={other}")
    assert lane.status()["phase"] == "Observing", "the same chart again changes nothing"
    assert lane.cacherollout("abort") == 0
    lane.reach("RolledBack", seconds=150)
    assert env_of(lane.target(), "BLINGAUTO_RELEASE") == release

    lane.helm_upgrade("--set", f"release={other}")
    lane.reach_reason("Ready", "RejectedRevisionHeld")
    assert {version_of(pod) for pod in lane.target_pods()} == {stable}
    lane.helm_upgrade("--set", f"release={other}", "--set", "drainSeconds=1")
    lane.reach("Warming", "Analyzing", attempt=2)
    lane.helm_upgrade("--set", f"release={release}", "--set", "drainSeconds=2")
    lane.reach("Idle", seconds=60)
    lane.expect_never_fewer()
