"""The shop that the demo rolls out: database, cache, API and load, in one namespace."""

from pathlib import Path

from commands import NAMESPACE, OPERATOR_NAMESPACE, ROOT, DemoError, Programs

API = "blingauto-api"
REPLICAS = 6
RATE = 120
"""Users' requests per second: what two cores bear beside Kubernetes, a database and the load."""
USERS = 600
"""Who come back: few enough that the cache answers nearly all, as caches do that are worth having."""
PRIME_SECONDS = 15
"""In which the load fills the empty cache gently."""
TTL_SECONDS = 60
"""Of cached values: short, since a cache is at rest only when its first values have expired."""
_CHART = ROOT / "examples" / "blingauto-api" / "chart"
_SHOP = ROOT / "examples" / "shop"
_HERE = Path(__file__).parent
_NAMESPACE = f"""
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels: {{pod-security.kubernetes.io/enforce: restricted}}
"""


def clear(programs: Programs) -> None:
    """Remove what an earlier run left, rollouts first so that their hold is lifted."""
    if _has_definitions(programs):
        programs.kubectl("delete", "cacherollouts", "--all", "--ignore-not-found", "--wait=false")
        try:
            programs.kubectl("wait", "cacherollouts", "--all", "--for=delete", "--timeout=60s")
        except DemoError:
            _abandon(programs)
    # A new image under the same tag starts no new pod, so the operator is installed afresh.
    programs.run_helm(
        "uninstall",
        "cacherollout",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--ignore-not-found",
        "--wait",
    )
    programs.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")


def _abandon(programs: Programs) -> None:
    """Nobody takes the finalizers off where the operator is gone; the namespace goes anyway."""
    for name in programs.kubectl("get", "cacherollouts", "-o", "name").split():
        programs.kubectl("patch", name, "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')


def _has_definitions(programs: Programs) -> bool:
    found = programs.kubectl("api-resources", "--api-group=cacherollout.io", "-o", "name")
    return "cacherollouts" in found


def install_operator(programs: Programs) -> None:
    """The operator, by its chart, watching the shop's namespace only."""
    programs.kubectl("apply", "-f", "-", stdin=_NAMESPACE)
    programs.run_helm(
        "upgrade", "--install", "cacherollout", str(ROOT / "charts" / "cacherollout"),
        "--namespace", OPERATOR_NAMESPACE, "--create-namespace",
        "--set", f"watchNamespaces={{{NAMESPACE}}}",
        "--set", "image.tag=dev",
        "--set", "backendSecrets={redis-operator}",
        # The definitions outlive their release on purpose; an earlier one may have left them.
        "--take-ownership", "--force-conflicts",
        "--wait", "--timeout", "120s",
    )  # fmt: skip


def install_stores(programs: Programs) -> None:
    """PostgreSQL and Redis."""
    for name in ("postgres", "redis"):
        programs.kubectl("apply", "-f", str(_SHOP / f"{name}.yaml"))
    # Until its cache is warm the shop's database may take what it needs; see sizing.py.
    programs.kubectl("set", "resources", "deployment/postgres", "--limits=cpu=1500m,memory=384Mi")
    for name in ("postgres", "redis"):
        programs.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s")


def install_api(programs: Programs) -> None:
    """The API's stable release, v2, complete."""
    programs.run_helm(
        "upgrade", "--install", API, str(_CHART), "--namespace", NAMESPACE,
        "--set", "release=v2", "--set", f"replicas={REPLICAS}", "--set", f"cache.ttlSeconds={TTL_SECONDS}",
        "--wait", "--timeout", "180s",
    )  # fmt: skip


def start_load(programs: Programs) -> None:
    """Users."""
    programs.kubectl("apply", "-f", str(_SHOP / "load.yaml"))
    programs.kubectl(
        "set", "env", "deployment/load",
        f"LOAD_REQUESTS_PER_SECOND={RATE}", f"LOAD_USERS={USERS}",
        f"LOAD_PRIME_SECONDS={PRIME_SECONDS}",
    )  # fmt: skip
    programs.kubectl("rollout", "status", "deployment/load", "--timeout=120s")


def hold(programs: Programs) -> None:
    """The backend and the CacheRollout."""
    programs.kubectl("apply", "-f", str(_SHOP / "cachebackend.yaml"))
    programs.kubectl("apply", "-f", str(_HERE / "cacherollout.yaml"))


def release_v3(programs: Programs) -> str:
    """A healthy release that changes the users' schema; gives what was typed."""
    programs.run_helm(
        "upgrade", API, str(_CHART), "--namespace", NAMESPACE, "--reuse-values",
        "--set", "release=v3",
    )  # fmt: skip
    return f"helm upgrade {API} … --set release=v3"


def release_broken(programs: Programs) -> str:
    """A release that stores values which it cannot decode; gives what was typed."""
    programs.kubectl("set", "env", f"deployment/{API}", "BLINGAUTO_RELEASE=v4-undecodable")
    return f"kubectl set env deployment/{API} BLINGAUTO_RELEASE=v4-undecodable"


def release_plain(programs: Programs) -> str:
    """v3 with its cache version, as a plain rolling update; gives what was typed."""
    programs.kubectl("set", "env", f"deployment/{API}", "BLINGAUTO_RELEASE=v3", "CACHE_VERSION=v2")
    return f"kubectl set env deployment/{API} BLINGAUTO_RELEASE=v3 CACHE_VERSION=v2"
