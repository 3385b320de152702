"""What the operator costs and how fast it is, on the real cluster; printed, never judged.

    make bench

Makes a lane as the end-to-end ring does, and removes it again. Times are taken from outside: the
moment something was typed or decided, to the moment the API server shows the effect. Figures of a
busy machine are worth little, so the load average is printed with them.
"""

import os
import statistics
import threading
import time
from dataclasses import dataclass

from tests.e2e.clusters import Cluster, Object, find_cluster, until
from tests.e2e.lanes import Lane

ROUNDS = 3
MANY = 20
STEADY_SECONDS = 60.0
_WRITTEN = ("cacherollouts", "controllerrevisions", "cachebackends")
"""Resources that nobody but the operator writes while nobody types anything."""


@dataclass(frozen=True, slots=True)
class Figure:
    what: str
    goal: str
    measured: str


def main() -> None:
    cluster = find_cluster()
    cluster.run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", "crds")
    cluster.run("kubectl", "wait", "--for=condition=Established", "-f", "crds")
    lane = Lane(cluster, "bench")
    print("A lane is made: PostgreSQL, Redis, the API, load, and the operator.", flush=True)
    lane.install()
    try:
        figures = [*_releases(lane), _resumption(lane), *_many(lane)]
    finally:
        lane.remove()
    width = max(len(figure.what) for figure in figures)
    print(f"\n{'':{width}}  {'goal':>10}  measured")
    for figure in figures:
        print(f"{figure.what:{width}}  {figure.goal:>10}  {figure.measured}")
    print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def _releases(lane: Lane) -> list[Figure]:
    """Rounds of a release that is aborted under traffic."""
    created, closed = [], []
    for number in range(ROUNDS):
        lane.begin()
        lane.hold_and_wait(soak="55s")
        typed_at = time.monotonic()
        lane.release_next()
        until("a canary pod", lane.has_canary_pod)
        created.append(time.monotonic() - typed_at)
        until("the canary takes traffic", lambda: lane.watch.has_canary_endpoint, 120)
        lane.cacherollout("abort")
        until("no canary endpoint", lambda: not lane.watch.has_canary_endpoint)
        closed.append((lane.watch.canary_endpoint_gone_at or 0.0) - _decided_at(lane))
        lane.end()
        print(f"release {number + 1} of {ROUNDS} is measured", flush=True)
    return [
        Figure("release typed -> canary pods created", "<= 2 s", _seconds(created)),
        Figure("abort decided -> no canary endpoint", "<= 1 s", _seconds(closed)),
    ]


def _decided_at(lane: Lane) -> float:
    """When the abort was decided, by the operator's clock."""
    return until("the decision", lambda: _entered(lane.status(), "RollingBack"))


def _entered(status: Object, phase: str) -> float | None:
    """When the latest attempt entered a phase, to the millisecond."""
    entered = status.get("ledger", {}).get("transitions", [])
    return next((float(item["at"]) for item in reversed(entered) if item["phase"] == phase), None)


def _resumption(lane: Lane) -> Figure:
    """From the loss of the working replica to the first thing that its successor stores."""
    taken = []
    for _ in range(ROUNDS):
        lane.begin()
        lane.hold_and_wait(soak="55s")
        lane.release_next()
        lane.reach("Analyzing")
        leader = lane.leader()
        killed_at = time.monotonic()
        lane.kill_operators(leader)
        until("another leads", lambda gone=leader: lane.leader() not in ("", gone))
        stored = lane.rollout()["metadata"]["resourceVersion"]
        until("it works", lambda was=stored: lane.rollout()["metadata"]["resourceVersion"] != was)
        taken.append(time.monotonic() - killed_at)
        lane.end()
    return Figure("working replica killed -> its successor works", "<= 30 s", _seconds(taken))


def _many(lane: Lane) -> list[Figure]:
    """Twenty rollouts that rest."""
    lane.begin()
    for number in range(MANY):
        lane.apply(_resting(f"rest-{number}"))
    for number in range(MANY):
        lane.hold(f"rest-{number}", targetRef={"name": f"rest-{number}"})
    for number in range(MANY):
        # The pass after the adoption says that nothing is left to do.
        lane.reach_reason("Ready", "UpToDate", f"rest-{number}", 180)
    print(f"{MANY} rollouts rest; for {STEADY_SECONDS:.0f} s nothing is typed", flush=True)
    before, started = _cost(lane), time.monotonic()
    threading.Event().wait(STEADY_SECONDS)
    after, seconds = _cost(lane), time.monotonic() - started
    writes = (after.writes - before.writes) * 60 / seconds
    share = (after.cpu_seconds - before.cpu_seconds) / seconds
    lane.end()
    return [
        Figure(f"memory with {MANY} rollouts", "<= 150 MiB", f"{after.memory / 2**20:.0f} MiB"),
        Figure(f"CPU with {MANY} rollouts at rest", "<= 1 %", f"{share * 100:.2f} % of a core"),
        Figure(f"API writes with {MANY} rollouts at rest", "0 a min", f"{writes:.1f} a min"),
    ]


@dataclass(frozen=True, slots=True)
class Cost:
    memory: float
    cpu_seconds: float
    writes: float


def _cost(lane: Lane) -> Cost:
    """What the working replica has used so far, and what was written on its behalf."""
    path = f"/api/v1/namespaces/{lane.system}/pods/{lane.leader()}:8080/proxy/metrics"
    own = _samples(lane.cluster, path)
    served = _samples(lane.cluster, "/metrics")
    writes = sum(
        value
        for name, value in served.items()
        if name.startswith("apiserver_request_total{")
        and any(f'resource="{kind}"' in name for kind in _WRITTEN)
        and any(f'verb="{verb}"' in name for verb in ("POST", "PUT", "PATCH", "APPLY", "DELETE"))
    )
    return Cost(own["process_resident_memory_bytes"], own["process_cpu_seconds_total"], writes)


def _samples(cluster: Cluster, path: str) -> dict[str, float]:
    """Samples of an exposition, by their names with labels."""
    lines = cluster.read_text(path).splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def _resting(name: str) -> Object:
    """A Deployment that only has to be there: one pod of Redis."""
    labels = {"app": name}
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "rest",
        "image": "docker.io/cacherollout/redis:dev",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": security,
        "resources": {"requests": {"cpu": "1m"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


def _seconds(measured: list[float]) -> str:
    worst = max(measured)
    return f"{statistics.median(measured):.2f} s (worst of {len(measured)}: {worst:.2f} s)"


if __name__ == "__main__":
    main()
