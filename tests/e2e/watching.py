"""What happens to a lane's pods and endpoints while a test runs, as the cluster tells it."""

import threading
import time
from dataclasses import dataclass, field

from tests.e2e.clusters import Cluster, Object

CANARY = "cacherollout.io/canary-of"


@dataclass(slots=True)
class Watch:
    """Follows pods and EndpointSlices of one application until it is stopped.

    A pod serves from its first readiness to the beginning of its end. One that is unready for a
    moment, on a busy machine, still counts: the question is what the operator takes away.
    """

    cluster: Cluster
    namespace: str
    app: str
    fewest: int | None = None
    """The smallest number of serving pods outside the canary that any loss left; None without."""
    versions: set[str] = field(default_factory=set)
    """Cache versions of all pods that were ready."""
    has_canary_endpoint: bool = False
    canary_endpoint_seen: bool = False
    canary_endpoint_gone_at: float | None = None
    """When the last canary endpoint stopped being ready, in seconds since the epoch."""
    _serving: set[str] = field(default_factory=set)
    _open: dict[str, bool] = field(default_factory=dict)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Follow from now on."""
        for target in (self._follow_pods, self._follow_slices):
            thread = threading.Thread(target=target, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End; what was seen stays."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def _follow_pods(self) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        selector = f"labelSelector=app.kubernetes.io/name={self.app}"
        for pod in self.cluster.follow(f"{path}?{selector}", self._is_over):
            self._note_pod(pod)

    def _note_pod(self, pod: Object) -> None:
        uid, metadata = pod["metadata"]["uid"], pod["metadata"]
        if is_ready(pod):
            self.versions.add(version_of(pod))
        if CANARY in metadata.get("labels", {}):
            return
        if pod.get("gone") or metadata.get("deletionTimestamp"):
            if uid in self._serving:
                self._serving.discard(uid)
                count = len(self._serving)
                self.fewest = count if self.fewest is None else min(self.fewest, count)
        elif is_ready(pod):
            self._serving.add(uid)

    def _follow_slices(self) -> None:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        selector = f"labelSelector=kubernetes.io/service-name={self.app}"
        for found in self.cluster.follow(f"{path}?{selector}", self._is_over):
            endpoints = [] if found.get("gone") else found.get("endpoints") or []
            self._open[found["metadata"]["uid"]] = any(map(is_open_canary, endpoints))
            is_open = any(self._open.values())
            if self.has_canary_endpoint and not is_open:
                self.canary_endpoint_gone_at = time.time()  # noqa: TID251 - compared with statuses
            self.has_canary_endpoint = is_open
            self.canary_endpoint_seen = self.canary_endpoint_seen or is_open


def is_open_canary(endpoint: Object) -> bool:
    """Whether an endpoint belongs to a canary pod and takes traffic."""
    name = (endpoint.get("targetRef") or {}).get("name", "")
    return "-canary-" in name and bool((endpoint.get("conditions") or {}).get("ready"))


def is_ready(pod: Object) -> bool:
    """Whether a pod takes traffic."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def version_of(pod: Object) -> str:
    """The cache version of a pod of the application."""
    entries = pod["spec"]["containers"][0].get("env") or []
    return next((each["value"] for each in entries if each["name"] == "CACHE_VERSION"), "v1")
