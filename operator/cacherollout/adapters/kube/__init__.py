"""The Kubernetes side: workloads and events on a real API server.

Knows the API server and nothing of caches, metrics or policy. What the shell wires is exported
here.
"""

from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.objects import KubeObjects
from cacherollout.adapters.kube.recorder import KubeRecorder
from cacherollout.adapters.kube.workloads import KubeWorkloads

__all__ = ["Client", "KubeObjects", "KubeRecorder", "KubeWorkloads"]
