"""What kind of machine this is, as far as it decides what can be done on it."""

import os
import sys

from cluster.errors import ClusterError


def refuse_unsuited(what: str) -> None:
    """ClusterError where namespaces, mounts and cgroups cannot be made: not Linux, or not root."""
    other_ways = "or name a cluster with --kubeconfig PATH, or install Docker"
    if sys.platform != "linux":
        raise ClusterError(f"{what} needs Linux: use one, {other_ways}")
    if os.geteuid() != 0:
        raise ClusterError(
            f"{what} needs root (it makes namespaces and mounts): use sudo, {other_ways}"
        )
