"""The kinds of objects that the operator reads or writes, and where they live in the API."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from cacherollout.api import names

Manifest = dict[str, Any]
"""An object as JSON; the API server's own form is kept, nothing is modeled twice."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object."""

    api_version: str
    kind: str
    plural: str
    is_namespaced: bool = True

    def path(self, namespace: str, name: str | None = None, subresource: str = "") -> str:
        """Path of one object, of its subresource, or of the collection."""
        root = "/apis" if "/" in self.api_version else "/api"
        parts = [root, self.api_version]
        if self.is_namespaced:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def __str__(self) -> str:
        group = self.api_version.partition("/")[0] if "/" in self.api_version else ""
        return f"{self.plural}.{group}" if group else self.plural


DEPLOYMENTS: Final = Resource("apps/v1", "Deployment", "deployments")
REPLICA_SETS: Final = Resource("apps/v1", "ReplicaSet", "replicasets")
CONTROLLER_REVISIONS: Final = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
NAMESPACES: Final = Resource("v1", "Namespace", "namespaces", is_namespaced=False)
PODS: Final = Resource("v1", "Pod", "pods")
EVENTS: Final = Resource("v1", "Event", "events")
SECRETS: Final = Resource("v1", "Secret", "secrets")
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")
ROLLOUTS: Final = Resource(names.API_VERSION, names.ROLLOUT_KIND, names.ROLLOUT_PLURAL)
BACKENDS: Final = Resource(names.API_VERSION, names.BACKEND_KIND, names.BACKEND_PLURAL)
