"""A cluster that is spoken to over TLS alone, at the ports and names that its nodes announce."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cacherollout.cache import (
    Cluster,
    Connection,
    Copy,
    Endpoint,
    Family,
    Limits,
    RefusedError,
    Survey,
    probe,
)
from cacherollout.cache.slots import SLOTS, slot_of
from tests.contract.cache.cluster.clusters import keys_under, some_ids
from tests.contract.cache.conftest import RedisProcess, free_port, until

KEYS = 200
FAST = Limits.unthrottled()


@pytest.fixture
async def endpoints(
    redis_binary: str, tmp_path: Path, tls_files: tuple[Path, Path]
) -> AsyncIterator[list[Endpoint]]:
    """Two primaries with half of the slots each; their certificate is that of localhost."""
    certificate, key = tls_files
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    trust = ("--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no")
    nodes, buses = [], []
    for index in range(2):
        (tmp_path / str(index)).mkdir()
        node, bus = RedisProcess(tmp_path / str(index)), str(free_port())
        ports = ("--port", "0", "--tls-port", str(node.port), "--cluster-port", bus)
        node.start("--cluster-enabled", "yes", "--tls-cluster", "yes", *ports, *files, *trust)
        nodes.append(node)
        buses.append(bus)
    context = ssl.create_default_context(cafile=str(certificate))
    found = [
        Endpoint("127.0.0.1", node.port, tls=context, server_name="localhost") for node in nodes
    ]
    clients = []
    for index, endpoint in enumerate(found):
        await until(lambda endpoint=endpoint: listens(endpoint))
        client = await Connection.connect(endpoint)
        clients.append(client)
        await client.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        low, high = index * SLOTS // 2, (index + 1) * SLOTS // 2 - 1
        await client.call("CLUSTER", "ADDSLOTSRANGE", low, high)
    await clients[0].call("CLUSTER", "MEET", "127.0.0.1", nodes[1].port, buses[1])
    for client in clients:
        await until(lambda client=client: is_whole(client))
        await client.wait_closed()
    yield found
    for node in nodes:
        node.kill()


async def listens(endpoint: Endpoint) -> bool:
    try:
        client = await Connection.connect(endpoint)
    except Exception:  # noqa: BLE001  # whatever it is, it is not ready
        return False
    await client.wait_closed()
    return True


async def is_whole(client: Connection) -> bool:
    return b"cluster_state:ok" in await client.call("CLUSTER", "INFO")


async def test_nodes_are_verified_by_the_given_name(
    endpoints: list[Endpoint], family: Family
) -> None:
    keys = keys_under(family, "v1", some_ids(KEYS))
    for index, endpoint in enumerate(endpoints):
        client = await Connection.connect(endpoint)
        mine = [key for key in keys if slot_of(key) * 2 // SLOTS == index]
        await client.pipeline([("SET", key, b"x", "EX", 600) for key in mine])
        await client.wait_closed()
    server = Cluster(endpoints[:1])
    copy = Copy(server, [family], source="v1", target="v2", limits=FAST)
    assert (await copy.run()).families[0].copied == KEYS
    assert (await Survey(server, [family], ["v2"], FAST).run()).of("user", "v2").keys == KEYS


async def test_nodes_are_verified_by_the_name_that_they_announce(
    endpoints: list[Endpoint], family: Family
) -> None:
    nameless = [replace(endpoint, server_name=None) for endpoint in endpoints]
    with pytest.raises(RefusedError, match="certificate"):
        await probe(Cluster(nameless))
    clients = [await Connection.connect(endpoint) for endpoint in endpoints]
    for client in clients:
        await client.call("CONFIG", "SET", "cluster-announce-hostname", "localhost")
    for client in clients:
        await until(lambda client=client: has_names(client))
        await client.wait_closed()
    seed = replace(nameless[0], host="localhost")
    assert (await probe(Cluster([seed]))).keys == 0


async def has_names(client: Connection) -> bool:
    return bool((await client.call("CLUSTER", "NODES")).count(b",localhost") == 2)
