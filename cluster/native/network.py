"""The node's network on the host: one network namespace, one link, two routes.

The link carries an alias that names the state folder it belongs to, so that a node is never taken
for another work tree's, even after its state folder is gone.
"""

import json
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from cluster.commands import run
from cluster.errors import ClusterError
from cluster.native.subnets import Subnets

_NAMESPACES = Path("/run/netns")


def link_name(name: str) -> str:
    """The host's end of the node's link."""
    return f"{name}-h"


def namespace_path(name: str) -> Path:
    """The file that stands for the node's network namespace."""
    return _NAMESPACES / name


def taken_networks() -> tuple[IPv4Network, ...]:
    """Everything the host has an IPv4 address in or a route to, default routes aside."""
    routes: list[dict[str, Any]] = json.loads(
        run(["ip", "-j", "-4", "route", "show", "table", "all"])
    )
    destinations = (str(route["dst"]) for route in routes)
    return tuple(
        IPv4Network(destination, strict=False)
        for destination in destinations
        if destination not in ("default", "0.0.0.0/0")
    )


def owner(name: str) -> str | None:
    """The state folder written on the node's link; None if there is no such link."""
    links: list[dict[str, Any]] = json.loads(run(["ip", "-j", "link", "show"]))
    for link in links:
        if link["ifname"] == link_name(name):
            return str(link.get("ifalias", ""))
    return None


def refuse_foreign(name: str, state: Path) -> None:
    """ClusterError if a link or a namespace of this name exists that is not this state folder's."""
    found = owner(name)
    if found == str(state):
        return
    if found is not None:
        whose = found or "something else"
        raise ClusterError(
            f"the host's link {link_name(name)!r} belongs to {whose}: "
            "run `down` there, or choose another --name"
        )
    if namespace_path(name).exists() and not state.exists():
        raise ClusterError(
            f"a network namespace {name!r} exists that this work tree did not make: "
            f"choose another --name, or remove it with `ip netns del {name}`"
        )


def create(name: str, subnets: Subnets, state: Path) -> None:
    """Make the namespace and the link, and let the host reach pods and Services through it."""
    link = link_name(name)
    prefix = subnets.link.prefixlen
    run(["ip", "netns", "add", name])
    run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name])
    run(["ip", "link", "set", "dev", link, "alias", str(state)])
    run(["ip", "address", "add", f"{subnets.host_address}/{prefix}", "dev", link])
    run(["ip", "link", "set", link, "up"])
    inside = ["ip", "-n", name]
    run([*inside, "address", "add", f"{subnets.node_address}/{prefix}", "dev", "eth0"])
    run([*inside, "link", "set", "eth0", "up"])
    run([*inside, "link", "set", "lo", "up"])
    # The kubelet wants a default route to find its address; the host forwards nothing for it.
    run([*inside, "route", "add", "default", "via", str(subnets.host_address)])
    for network in (subnets.pods, subnets.services):
        run(["ip", "route", "add", str(network), "via", str(subnets.node_address), "dev", link])


def processes(name: str) -> tuple[int, ...]:
    """The host's numbers of all processes in the node's own network namespace."""
    if not namespace_path(name).exists():
        return ()
    return tuple(int(line) for line in run(["ip", "netns", "pids", name]).split())


def remove(name: str) -> None:
    """Remove link and namespace, whichever of them is there."""
    if owner(name) is not None:
        run(["ip", "link", "delete", link_name(name)])
    if namespace_path(name).exists():
        run(["ip", "netns", "delete", name])


def leftovers(name: str) -> Iterable[str]:
    """What is still there, in words; nothing when clean."""
    if owner(name) is not None:
        yield f"link {link_name(name)}"
    if namespace_path(name).exists():
        yield f"network namespace {name}"
