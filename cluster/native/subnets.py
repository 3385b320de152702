"""The address ranges of one node, chosen so that they meet nothing the host already routes."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from cluster.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Subnets:
    """The ranges number `index` (0 to 255): link to the host, pods, Services."""

    index: int

    @property
    def link(self) -> IPv4Network:
        """The /30 between host and node."""
        return IPv4Network(f"10.200.{self.index}.0/30")

    @property
    def pods(self) -> IPv4Network:
        """A /24: up to 253 pods, which is above the kubelet's limit."""
        return IPv4Network(f"10.244.{self.index}.0/24")

    @property
    def services(self) -> IPv4Network:
        """A /24: up to 254 cluster addresses."""
        return IPv4Network(f"10.96.{self.index}.0/24")

    @property
    def host_address(self) -> IPv4Address:
        """The host's end of the link."""
        return self.link[1]

    @property
    def node_address(self) -> IPv4Address:
        """The node's end of the link: API server, kubelet and DNS server listen here."""
        return self.link[2]

    @property
    def kubernetes_address(self) -> IPv4Address:
        """The cluster address of the API server."""
        return self.services[1]

    @property
    def dns_address(self) -> IPv4Address:
        """The cluster address of DNS."""
        return self.services[10]

    def overlaps(self, networks: Iterable[IPv4Network]) -> bool:
        """Whether any of the three ranges meets any of these."""
        ours = (self.link, self.pods, self.services)
        return any(mine.overlaps(network) for network in networks for mine in ours)


def free_subnets(taken: Iterable[IPv4Network]) -> Subnets:
    """The first free ranges; ClusterError if the host routes all of them already."""
    networks = tuple(taken)
    for index in range(256):
        subnets = Subnets(index)
        if not subnets.overlaps(networks):
            return subnets
    raise ClusterError(
        "no free addresses for a node: the host already routes all of 10.200.0.0/16, "
        "10.244.0.0/16 or 10.96.0.0/16 (see `ip route show table all`)"
    )
