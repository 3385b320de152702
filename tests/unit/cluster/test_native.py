"""The native node's decisions: addresses, configuration, what counts as left behind."""

import itertools
import json
import socket
import struct
import threading
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.native import cgroups, components, dns, pki, removal
from cluster.native.subnets import Subnets, free_subnets


def test_a_node_takes_the_first_ranges_that_nobody_has() -> None:
    assert free_subnets([]).index == 0
    first, second = Subnets(0), Subnets(1)
    taken = [first.link, second.pods, IPv4Network("192.0.2.0/24")]
    assert free_subnets(taken).index == 2


@pytest.mark.parametrize("network", ["10.96.0.0/24", "10.200.0.2/32", "10.244.0.128/25"])
def test_meeting_any_one_of_the_ranges_is_enough_to_skip_them(network: str) -> None:
    assert free_subnets([IPv4Network(network)]).index == 1


def test_a_host_that_routes_everything_has_no_room() -> None:
    with pytest.raises(ClusterError, match="no free addresses"):
        free_subnets([IPv4Network("10.0.0.0/8")])


def test_no_two_nodes_share_an_address() -> None:
    networks = [
        network
        for index in range(256)
        for network in (Subnets(index).link, Subnets(index).pods, Subnets(index).services)
    ]
    assert len(set(networks)) == 3 * 256
    ordered = sorted(networks)
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(ordered))


def test_certificates_cover_every_name_the_api_server_is_called_by() -> None:
    by_name = {item.name: item for item in pki.certificates("crnode", Subnets(2))}
    assert {"IP:10.200.2.2", "IP:10.96.2.1", "DNS:kubernetes.default.svc"} <= set(
        by_name["apiserver"].alternative_names
    )
    assert by_name["kubelet"].subject == "/O=system:nodes/CN=system:node:crnode"
    assert by_name["front-proxy"].authority == "front-proxy-ca"


def test_every_kubeconfig_has_a_certificate() -> None:
    names = {item.name for item in pki.certificates("crnode", Subnets(0))}
    assert set(pki.KUBECONFIGS) <= names


def test_configuration_agrees_with_the_ranges_of_the_node() -> None:
    subnets = Subnets(7)
    files = components.configuration("crnode", subnets)
    kubelet = json.loads(files["kubelet.json"])
    pods = json.loads(files["cni/10-pods.conflist"])["plugins"][0]["ipam"]["ranges"]
    service, endpoints, *_ = json.loads(files["objects.json"])["items"]
    assert kubelet["cgroupRoot"] == "/cacherollout-crnode"
    assert kubelet["clusterDNS"] == ["10.96.7.10"] == [service["spec"]["clusterIP"]]
    assert pods == [[{"subnet": "10.244.7.0/24"}]]
    assert json.loads(files["proxy.json"])["clusterCIDR"] == "10.244.7.0/24"
    assert endpoints["endpoints"] == [{"addresses": ["10.200.7.2"]}]
    assert "bind 10.200.7.2\n" in files["Corefile"]
    assert files["resolv.conf"] == "nameserver 10.96.7.10\n"


def test_the_api_server_can_aggregate_and_keeps_its_default_admission() -> None:
    command = components.api_server(Subnets(0)).command
    assert "--enable-aggregator-routing=true" in command
    assert "--requestheader-client-ca-file=/run/node/pki/front-proxy-ca.crt" in command
    assert "--proxy-client-cert-file=/run/node/pki/front-proxy.crt" in command
    assert not [flag for flag in command if flag.startswith("--disable-admission-plugins")]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["cgroup.controllers", "cgroup.procs"], ["."]),
        (["cpu/cgroup.procs", "memory/cgroup.procs", "other/file"], ["cpu", "memory"]),
    ],
    ids=["version 2", "version 1"],
)
def test_cgroup_trees_are_found(tmp_path: Path, files: list[str], expected: list[str]) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    found = cgroups.hierarchies(tmp_path)
    assert [str(folder.relative_to(tmp_path)) for folder in found] == expected


def test_only_mounts_below_the_very_folder_are_its_own(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "tmpfs /w/nodes/a tmpfs rw 0 0\n"
        "overlay /w/nodes/a/pods/1 overlay rw 0 0\n"
        "overlay /w/nodes/ab overlay rw 0 0\n"
        "ext4 / ext4 rw 0 0\n"
    )
    assert removal.mounts_below(Path("/w/nodes/a"), mounts) == ("/w/nodes/a", "/w/nodes/a/pods/1")


@pytest.fixture
def question() -> bytes:
    return dns.query("kubernetes.default.svc.cluster.local")


def test_a_question_names_every_label_and_asks_for_an_address(question: bytes) -> None:
    assert b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\0" in question
    assert question.endswith(struct.pack(">HH", 1, 1))


@pytest.mark.parametrize(
    ("flags", "answers", "is_answer"),
    [(0x8180, 1, True), (0x8180, 0, False), (0x8183, 1, False)],
    ids=["found", "nothing", "no such name"],
)
def test_only_a_record_without_an_error_is_an_answer(
    question: bytes, flags: int, answers: int, *, is_answer: bool
) -> None:
    packet = question[:2] + struct.pack(">HHH", flags, 1, answers) + question[8:]
    assert dns.has_answer(packet) is is_answer


def test_an_answer_to_another_question_or_a_stump_is_none(question: bytes) -> None:
    assert not dns.has_answer(b"\0\0" + struct.pack(">HHH", 0x8180, 1, 1) + question[8:])
    assert not dns.has_answer(question[:5])


def test_a_silent_server_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "TIMEOUT_SECONDS", 0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        assert not dns.resolves("127.0.0.1", "a.b", port=server.getsockname()[1])


def test_a_server_that_answers_resolves() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)

        def serve() -> None:
            packet, client = server.recvfrom(512)
            server.sendto(packet[:2] + struct.pack(">HHH", 0x8180, 1, 1) + packet[8:], client)

        thread = threading.Thread(target=serve)
        thread.start()
        assert dns.resolves("127.0.0.1", "a.b", port=server.getsockname()[1])
        thread.join()
