"""What runs on a node: the command lines and configuration files of each process, as values.

All paths are the node's own view (see init.sh): its state is /run/node, its programs /run/node/bin.
Must not start anything.
"""

import json
from dataclasses import dataclass
from typing import Any

from cluster.native import cgroups
from cluster.native.subnets import Subnets

STATE = "/run/node"
PAUSE_IMAGE = "docker.io/cacherollout/pause:dev"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_KUBE = f"{STATE}/bin/kube"
_PKI = f"{STATE}/pki"
_ETCD = "http://127.0.0.1:2379"


@dataclass(frozen=True, slots=True)
class Component:
    """One long-running process: its name, which is also its log's, and its command line."""

    name: str
    command: tuple[str, ...]


def _flags(**values: object) -> tuple[str, ...]:
    return tuple(f"--{name.replace('_', '-')}={value}" for name, value in values.items())


def etcd() -> Component:
    """The store. It need not survive a power cut: the node is thrown away with it."""
    peers = "http://127.0.0.1:2380"
    flags = _flags(
        data_dir="/var/lib/etcd",
        unsafe_no_fsync="true",
        listen_client_urls=_ETCD,
        advertise_client_urls=_ETCD,
        listen_peer_urls=peers,
        initial_advertise_peer_urls=peers,
        initial_cluster=f"default={peers}",
        log_level="warn",
    )
    return Component("etcd", (_KUBE, "etcd", *flags))


def api_server(subnets: Subnets) -> Component:
    """The API, with default admission and with aggregation, which metrics-server needs."""
    flags = _flags(
        etcd_servers=_ETCD,
        bind_address="0.0.0.0",  # noqa: S104 - in a network namespace of its own
        advertise_address=subnets.node_address,
        secure_port=6443,
        service_cluster_ip_range=subnets.services,
        tls_cert_file=f"{_PKI}/apiserver.crt",
        tls_private_key_file=f"{_PKI}/apiserver.key",
        client_ca_file=f"{_PKI}/ca.crt",
        kubelet_certificate_authority=f"{_PKI}/ca.crt",
        kubelet_client_certificate=f"{_PKI}/admin.crt",
        kubelet_client_key=f"{_PKI}/admin.key",
        kubelet_preferred_address_types="InternalIP",
        service_account_issuer="https://kubernetes.default.svc",
        service_account_key_file=f"{_PKI}/sa.pub",
        service_account_signing_key_file=f"{_PKI}/sa.key",
        authorization_mode="Node,RBAC",
        enable_admission_plugins="NodeRestriction",
        allow_privileged="true",
        requestheader_client_ca_file=f"{_PKI}/front-proxy-ca.crt",
        requestheader_allowed_names="front-proxy",
        requestheader_username_headers="X-Remote-User",
        requestheader_group_headers="X-Remote-Group",
        requestheader_extra_headers_prefix="X-Remote-Extra-",
        proxy_client_cert_file=f"{_PKI}/front-proxy.crt",
        proxy_client_key_file=f"{_PKI}/front-proxy.key",
        enable_aggregator_routing="true",
    )
    return Component("apiserver", (_KUBE, "kube-apiserver", *flags))


def controller_manager() -> Component:
    """All controllers, the HPA's among them."""
    flags = _flags(
        kubeconfig=f"{_PKI}/controller-manager.kubeconfig",
        service_account_private_key_file=f"{_PKI}/sa.key",
        root_ca_file=f"{_PKI}/ca.crt",
        cluster_signing_cert_file=f"{_PKI}/ca.crt",
        cluster_signing_key_file=f"{_PKI}/ca.key",
        use_service_account_credentials="true",
        leader_elect="false",
        allocate_node_cidrs="false",
    )
    return Component("controller-manager", (_KUBE, "kube-controller-manager", *flags))


def scheduler() -> Component:
    """The only scheduler, so it elects nobody."""
    flags = _flags(kubeconfig=f"{_PKI}/scheduler.kubeconfig", leader_elect="false")
    return Component("scheduler", (_KUBE, "kube-scheduler", *flags))


def containerd() -> Component:
    """The container runtime of the Linux distribution."""
    return Component("containerd", ("containerd", "--config", f"{STATE}/containerd.toml"))


def kubelet(name: str, subnets: Subnets) -> Component:
    """The kubelet; zone and region labels let topology constraints be tried."""
    flags = _flags(
        config=f"{STATE}/kubelet.json",
        kubeconfig=f"{_PKI}/kubelet.kubeconfig",
        hostname_override=name,
        node_ip=subnets.node_address,
        node_labels="topology.kubernetes.io/region=local,topology.kubernetes.io/zone=local-a",
    )
    return Component("kubelet", (_KUBE, "kubelet", *flags))


def proxy() -> Component:
    """Services by nftables, inside the node's own network namespace."""
    return Component("proxy", (_KUBE, "kube-proxy", f"--config={STATE}/proxy.json"))


def dns() -> Component:
    """CoreDNS on the node's address; the Service kube-dns points at it."""
    return Component("dns", (f"{STATE}/bin/dns", "-conf", f"{STATE}/Corefile"))


def configuration(name: str, subnets: Subnets) -> dict[str, str]:
    """All configuration files, by their path below the node's state folder."""
    return {
        "containerd.toml": _CONTAINERD,
        "cni/10-pods.conflist": json.dumps(_pod_network(subnets), indent=1),
        "kubelet.json": json.dumps(_kubelet(name, subnets), indent=1),
        "proxy.json": json.dumps(_proxy(name, subnets), indent=1),
        "Corefile": _corefile(subnets),
        "resolv.conf": f"nameserver {subnets.dns_address}\n",
        "objects.json": json.dumps(_objects(subnets), indent=1),
    }


# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower a score, and pods do not start.
_CONTAINERD = f"""\
version = 2
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{STATE}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{STATE}/cni"
"""


def _pod_network(subnets: Subnets) -> dict[str, Any]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(subnets.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    port_map = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, port_map]}


def _kubelet(name: str, subnets: Subnets) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{_PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{_PKI}/kubelet.crt",
        "tlsPrivateKeyFile": f"{_PKI}/kubelet.key",
        "clusterDNS": [str(subnets.dns_address)],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "volumePluginDir": f"{STATE}/volume-plugins",
        "resolvConf": f"{STATE}/resolv.conf",
        # A host with version 1 cgroups still boots a node; 1.34 is the last that pairs with
        # containerd 1.6.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.root_name(name)}",
        "failSwapOn": False,
        # The disk is the host's: only its very end is a reason to evict.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
        },
        # Images are imported, never pulled: one collected as unused would be gone for good.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 250,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
    }


def _proxy(name: str, subnets: Subnets) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{_PKI}/proxy.kubeconfig"},
        "mode": "nftables",
        "clusterCIDR": str(subnets.pods),
        "hostnameOverride": name,
        # Conntrack limits are the host's and not ours to set.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def _corefile(subnets: Subnets) -> str:
    return f"""\
.:53 {{
  bind {subnets.node_address}
  errors
  ready 127.0.0.1:8181
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {_PKI}/dns.kubeconfig
    ttl 5
  }}
  cache 5
}}
"""


def _objects(subnets: Subnets) -> dict[str, Any]:
    """The Service kube-dns with its endpoint, and the rights of the DNS server."""
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    metadata = {"name": "kube-dns", "namespace": "kube-system"}
    reading = ["list", "watch"]
    items: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"clusterIP": str(subnets.dns_address), "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [str(subnets.node_address)]}],
            "ports": ports,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "cluster-dns"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": reading},
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": reading,
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "cluster-dns"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-dns",
            },
            "subjects": [
                {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "User",
                    "name": "system:dns",
                }
            ],
        },
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}
