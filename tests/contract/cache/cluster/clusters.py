"""A real cluster of three primaries and three replicas on loopback, and ways to disturb it."""

import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cacherollout.cache import Cluster, Connection, Endpoint, Family, UnreachableError, key_of
from cacherollout.cache.connections import Command, Reply
from cacherollout.cache.layouts import Address, read_view
from cacherollout.cache.slots import SLOTS, keys_of, slot_of
from tests.contract.cache.conftest import Dump, RedisProcess, dump, free_port, until
from tests.contract.cache.proxies import Proxy

KEYS = 2_000
PRIMARIES = 3
ODD_IDS = (b"*", b"[a]", b"\\", b"{", b"}", b"{}", b"a{b}c", b"\x00\xff", b" ", b"\r\n")
SETTINGS = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1200")
EAGER = (
    *("--cluster-allow-replica-migration", "no"),
    *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
)


@dataclass(frozen=True)
class Known:
    """A primary as the cluster sees it."""

    id: str
    redis: RedisProcess
    slots: frozenset[int]


@dataclass
class RedisCluster:
    """Six servers; who is a primary changes as tests fail over."""

    directory: Path
    arguments: tuple[str, ...] = ()
    nodes: list[RedisProcess] = field(default_factory=list)

    @property
    def server(self) -> Cluster:
        """Through a node that does not exist, and then through those that do."""
        nobody = Endpoint("127.0.0.1", free_port())
        return Cluster([nobody, *(node.endpoint for node in self.nodes)])

    def begin(self, name: str) -> RedisProcess:
        """Start a node that knows no other."""
        place = Path(tempfile.mkdtemp(prefix=name, dir=self.directory))
        bus = ("--cluster-port", str(free_port()), "--cluster-config-file", "nodes.conf")
        node = RedisProcess(place, (*SETTINGS, *EAGER, *bus, *self.arguments))
        node.start()
        return node

    async def introduce(self, node: RedisProcess) -> None:
        """Let the first node meet another."""
        client = await self.nodes[0].connect()
        bus = node.arguments[node.arguments.index("--cluster-port") + 1]
        await client.call("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        await client.wait_closed()

    async def create(self) -> None:
        self.nodes = [self.begin(str(index)) for index in range(2 * PRIMARIES)]
        clients = [await node.connect() for node in self.nodes]
        for index, client in enumerate(clients):
            await client.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            if index < PRIMARIES:
                low, high = (SLOTS * i // PRIMARIES for i in (index, index + 1))
                await client.call("CLUSTER", "ADDSLOTSRANGE", low, high - 1)
        for node in self.nodes[1:]:
            await self.introduce(node)
        for node in self.nodes:
            await until(lambda node=node: knows(node, len(self.nodes)))
        for index, client in enumerate(clients[PRIMARIES:]):
            await client.call("CLUSTER", "REPLICATE", await clients[index].call("CLUSTER", "MYID"))
        for client in clients:
            await client.wait_closed()
        await self.heal()

    async def heal(self) -> None:
        """Start what is dead, and wait until every primary has a replica that follows it."""
        for node in self.nodes:
            if node.process is None:
                node.start()
        for node in self.nodes:
            await until(lambda node=node: self._is_well(node))

    async def _is_well(self, node: RedisProcess) -> bool:
        try:
            client = await Connection.connect(node.endpoint)
        except UnreachableError:
            return False
        try:
            role = await client.call("ROLE")
            state = await client.call("CLUSTER", "INFO")
            said = (await client.call("CLUSTER", "NODES")).decode()
        finally:
            await client.wait_closed()
        is_linked = role[3] == b"connected" if role[0] == b"slave" else len(role[2]) == 1
        has_doubts = any(
            word in line for line in said.splitlines() for word in ("fail", "handshake")
        )
        return is_linked and b"cluster_state:ok" in state and not has_doubts

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    async def primaries(self) -> list[Known]:
        """Those that serve slots, by what one living node says."""
        client = await next(node for node in self.nodes if node.process).connect()
        shards = await client.call("CLUSTER", "SHARDS")
        await client.wait_closed()
        found = []
        for shard in shards:
            bounds = shard[b"slots"]
            slots = {
                slot
                for low, high in zip(bounds[::2], bounds[1::2], strict=True)
                for slot in range(low, high + 1)
            }
            for node in shard[b"nodes"]:
                if slots and node[b"role"] == b"master" and node[b"health"] == b"online":
                    redis = next(each for each in self.nodes if each.port == node[b"port"])
                    found.append(Known(node[b"id"].decode(), redis, frozenset(slots)))
        return sorted(found, key=lambda known: known.id)

    async def owner(self, key: bytes) -> Known:
        return next(k for k in await self.primaries() if slot_of(key) in k.slots)

    async def run(self, commands: Iterable[Command]) -> list[Reply]:
        """Run commands on the primaries of their keys; the slots must be at rest."""
        commands = [tuple(a.encode() if isinstance(a, str) else a for a in c) for c in commands]
        known = await self.primaries()
        groups: dict[int, list[int]] = defaultdict(list)
        for index, command in enumerate(commands):
            slot = slot_of(keys_of(command)[0] if command[0] != b"SET" else command[1])
            place = next(i for i, each in enumerate(known) if slot in each.slots)
            groups[place].append(index)
        replies: list[Reply] = [None] * len(commands)
        for place, indexes in groups.items():
            client = await known[place].redis.connect()
            got = await client.pipeline([commands[i] for i in indexes])
            for index, reply in zip(indexes, got, strict=True):
                replies[index] = reply
            await client.wait_closed()
        return replies

    async def on_all(self, *command: str) -> None:
        """Run a command on every primary."""
        for known in await self.primaries():
            client = await known.redis.connect()
            await client.call(*command)
            await client.wait_closed()

    async def dump(self) -> Dump:
        """Every key of every primary."""
        found: Dump = {}
        for known in await self.primaries():
            client = await known.redis.connect()
            part = await dump(client)
            assert not part.keys() & found.keys(), "a key on two primaries"
            found |= part
            await client.wait_closed()
        return found

    async def settle(self) -> None:
        """Wait until the replicas have what their primaries have."""
        for known in await self.primaries():
            client = await known.redis.connect()
            assert await client.call("WAIT", 1, 2000) == 1
            await client.wait_closed()


class Routed:
    """Runs single commands where their first key is; the slots must be at rest."""

    def __init__(self, known: Sequence[Known], clients: Sequence[Connection]) -> None:
        self._places = list(zip(known, clients, strict=True))

    async def call(self, *command: bytes | str | int) -> Reply:
        name, *keys = (a.encode() if isinstance(a, str) else a for a in command)
        if name in {b"DEL", b"EXISTS"} and len(keys) > 1:
            return sum([await self.call(name, key) for key in keys])
        assert isinstance(keys[0], bytes)
        slot = slot_of(keys[0])
        client = next(client for known, client in self._places if slot in known.slots)
        return await client.call(*command)


@asynccontextmanager
async def routed(cluster: RedisCluster) -> AsyncIterator[Routed]:
    known = await cluster.primaries()
    clients = [await each.redis.connect() for each in known]
    yield Routed(known, clients)
    for client in clients:
        await client.wait_closed()


class Proxied(Cluster):
    """A cluster that is only reached through proxies."""

    def __init__(self, cluster: RedisCluster, proxies: Mapping[int, Proxy]) -> None:
        super().__init__([node.endpoint for node in cluster.nodes])
        self._proxies = proxies

    async def _open(self, address: Address, hostname: str, timeout_seconds: float) -> Connection:
        proxy = self._proxies[address.port]
        return await Connection.connect(proxy.endpoint, timeout_seconds=timeout_seconds)


@asynccontextmanager
async def proxied(cluster: RedisCluster) -> AsyncIterator[tuple[Proxied, Sequence[Proxy]]]:
    async with AsyncExitStack() as stack:
        proxies = {
            node.port: await stack.enter_async_context(Proxy(node.port)) for node in cluster.nodes
        }
        yield Proxied(cluster, proxies), [*proxies.values()]


@asynccontextmanager
async def one_more(cluster: RedisCluster) -> AsyncIterator[Known]:
    """A primary that joins without slots; when it leaves, it must have none."""
    node = cluster.begin("more")
    client = await node.connect()
    identity = (await client.call("CLUSTER", "MYID")).decode()
    await client.wait_closed()
    await cluster.introduce(node)
    for each in [*cluster.nodes, node]:
        await until(lambda each=each: knows(each, len(cluster.nodes) + 1))
    await until(lambda: serves(node))
    try:
        yield Known(identity, node, frozenset())
    finally:
        node.kill()
        for other in cluster.nodes:
            client = await other.connect()
            await client.call("CLUSTER", "FORGET", identity)
            await client.wait_closed()


async def serves(node: RedisProcess) -> bool:
    """Whether a node takes the cluster for whole; one that joins does not so at first."""
    client = await node.connect()
    said = await client.call("CLUSTER", "INFO")
    await client.wait_closed()
    return b"cluster_state:ok" in said


async def knows(node: RedisProcess, count: int) -> bool:
    """Whether a node is on terms with so many nodes, itself included."""
    client = await node.connect()
    said = (await client.call("CLUSTER", "NODES")).decode()
    await client.wait_closed()
    return said.count(" connected") == count and "handshake" not in said


class Move:
    """One slot on its way from one primary to another, step by step."""

    def __init__(self, cluster: RedisCluster, slot: int, source: Known, target: Known) -> None:
        self.slot = slot
        self._cluster = cluster
        self._source = source
        self._target = target

    async def open(self) -> None:
        await self._on(self._target, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", self._source.id)
        await self._on(self._source, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", self._target.id)

    async def send(self, keys: Iterable[bytes] | None = None) -> None:
        """Bring keys over; None for all."""
        if keys is None:
            keys = await self._on(self._source, "CLUSTER", "GETKEYSINSLOT", self.slot, 100_000)
        there = ("127.0.0.1", self._target.redis.port, "", 0, 5000, "KEYS")
        for key in keys:
            await self._on(self._source, "MIGRATE", *there, key)

    async def close(self) -> None:
        for known in (self._target, self._source):
            await self._on(known, "CLUSTER", "SETSLOT", self.slot, "NODE", self._target.id)
        for node in self._cluster.nodes:
            if node.process:
                await until(lambda node=node: self._is_known_to(node))

    async def whole(self) -> None:
        await self.open()
        await self.send()
        await self.close()

    async def _is_known_to(self, node: RedisProcess) -> bool:
        client = await node.connect()
        said = read_view(await client.call("CLUSTER", "NODES"), Address("127.0.0.1", node.port))
        await client.wait_closed()
        (target,) = (each for each in said if each.id == self._target.id)
        is_on_the_move = any(self.slot in {*each.leaving, *each.arriving} for each in said)
        return self.slot in target.slots and not is_on_the_move

    async def _on(self, known: Known, *command: bytes | str | int) -> Reply:
        client = await known.redis.connect()
        try:
            return await client.call(*command)
        finally:
            await client.wait_closed()


def some_ids(count: int = KEYS) -> list[bytes]:
    """Ids of every kind."""
    return [*ODD_IDS, *(b"%d" % number for number in range(count - len(ODD_IDS)))]


def keys_under(family: Family, version: str, ids: Sequence[bytes]) -> list[bytes]:
    return [key_of(family, version, identifier) for identifier in ids]


async def plant(cluster: RedisCluster, keys: Iterable[bytes]) -> None:
    """Set keys that live for an hour, each to a value of its own."""
    await cluster.run([(b"SET", key, b"value of " + key, b"PX", 3_600_000) for key in keys])


def with_endpoint(cluster: RedisCluster, **changes: object) -> Cluster:
    """The cluster, spoken to in another way."""
    return Cluster([replace(node.endpoint, **changes) for node in cluster.nodes])  # type: ignore[arg-type]


async def wait_for_takeover(cluster: RedisCluster, lost: Known) -> None:
    """Wait until somebody else serves the slots of a primary that is dead."""

    async def is_taken() -> bool:
        known = await cluster.primaries()
        return any(each.slots >= lost.slots and each.id != lost.id for each in known)

    await until(is_taken)
