"""What a cluster says about itself: which primary owns which slots, and which are on the move.

Every node knows the others by hearsay, but itself for sure; and only itself knows which of its slots
are leaving or arriving. So a `Layout` is made of what each primary says about itself. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cacherollout.cache.errors import ClusterDownError, MovedError
from cacherollout.cache.slots import SLOTS, spelled

_MIN_FIELDS: Final = 8
_EVERY_SLOT: Final = frozenset(range(SLOTS))
_GONE: Final = frozenset({"noaddr", "handshake"})


class Address(NamedTuple):
    """Where a node listens; `host` is empty for "the host that said so"."""

    host: str
    port: int

    def __str__(self) -> str:
        """As messages show it."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Node:
    """One node, as one line of CLUSTER NODES has it.

    Attributes:
        id: Its name for life.
        address: Where it listens.
        hostname: The name that it announces; empty if none.
        flags: As the server writes them: ``myself``, ``master``, ``fail`` and others.
        epoch: Grows whenever it takes a slot over.
        slots: Those it owns.
        leaving: Slots it owns that are on the move, and to which node.
        arriving: Slots on the move to it, and from which node.

    """

    id: str
    address: Address
    hostname: str = ""
    flags: frozenset[str] = frozenset()
    epoch: int = 0
    slots: frozenset[int] = frozenset()
    leaving: Mapping[int, str] = field(default_factory=dict)
    arriving: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_myself(self) -> bool:
        """Whether it is the one that was asked."""
        return "myself" in self.flags

    @property
    def is_primary(self) -> bool:
        """Whether it takes writes, and is known well enough to be asked."""
        is_lost = "fail" in self.flags and not self.slots
        return "master" in self.flags and not is_lost and not self.flags & _GONE


class Holding(NamedTuple):
    """Who has the keys of a slot: its owner, and the node that they are on the way to, if any."""

    owner: str
    heir: str | None = None


def read_view(text: bytes, asked: Address) -> tuple[Node, ...]:
    """Parse CLUSTER NODES as the node at `asked` said it."""
    return tuple(
        _node(fields, asked)
        for line in text.decode(errors="replace").splitlines()
        if len(fields := line.split()) >= _MIN_FIELDS
    )


def _node(fields: Sequence[str], asked: Address) -> Node:
    place, _, hostname = fields[1].partition(",")
    host, _, port = place.partition("@")[0].rpartition(":")
    slots: set[int] = set()
    leaving: dict[int, str] = {}
    arriving: dict[int, str] = {}
    for word in fields[8:]:
        if word.startswith("["):
            slot, direction, other = word.strip("[]").split("-", 2)
            (leaving if direction == ">" else arriving)[int(slot)] = other
        else:
            low, _, high = word.partition("-")
            slots.update(range(int(low), int(high or low) + 1))
    return Node(
        id=fields[0],
        address=Address(host or asked.host, int(port)),
        hostname=hostname.partition(",")[0],
        flags=frozenset(fields[2].split(",")),
        epoch=int(fields[6]),
        slots=frozenset(slots),
        leaving=leaving,
        arriving=arriving,
    )


class Layout:
    """Who holds which slot, out of what every primary says about itself.

    Attributes:
        nodes: The primaries, by id.
        owned: The slots that each has.
        heirs: Slots on the move, and to which node.

    """

    def __init__(self, primaries: Iterable[Node]) -> None:
        """Of two that claim a slot, the one with the higher epoch has it, as in the cluster.

        Raises:
            ClusterDownError: Nobody has some of the slots.

        """
        self.nodes = {node.id: node for node in primaries}
        self.owned: dict[str, frozenset[int]] = {}
        free = _EVERY_SLOT
        for node in sorted(self.nodes.values(), key=lambda node: -node.epoch):
            self.owned[node.id] = node.slots & free
            free -= node.slots
        if free:
            raise ClusterDownError(
                f"the cluster is not whole: no primary serves slots {spelled(sorted(free))}"
            )
        heirs: dict[int, str] = {}
        for node in self.nodes.values():
            heirs |= {slot: heir for slot, heir in node.leaving.items() if heir in self.nodes}
        for node in self.nodes.values():
            heirs |= dict.fromkeys(node.arriving, node.id)
        self.heirs = {slot: heir for slot, heir in heirs.items() if slot not in self.owned[heir]}

    def holding(self, slot: int) -> Holding:
        """Who has the keys of `slot`."""
        owner = next(node for node, slots in self.owned.items() if slot in slots)
        return Holding(owner, self.heirs.get(slot))


class SlotMap:
    """Which address serves a slot, as far as is known: to be corrected by whoever answers."""

    def __init__(self) -> None:
        self._places: dict[int, Address] = {}

    def place(self, slot: int) -> Address:
        """Where to send a slot's commands.

        Raises:
            ClusterDownError: Nobody is known to serve it.

        """
        place = self._places.get(slot)
        if place is None:
            raise ClusterDownError(f"no primary of the cluster is known to serve slot {slot}")
        return place

    def of(self, address: Address) -> list[int]:
        """The slots that are served there."""
        return [slot for slot, place in self._places.items() if place == address]

    def learn(self, nodes: Iterable[Node]) -> None:
        """Take over what `nodes` own."""
        for node in sorted(nodes, key=lambda node: node.epoch):
            self._places |= dict.fromkeys(node.slots, node.address)

    def move(self, slot: int, address: Address) -> None:
        """Take over that a node sent us elsewhere."""
        self._places[slot] = address


def redirection(error: MovedError) -> tuple[int, Address]:
    """Where MOVED or ASK sends a slot's commands: ``MOVED 866 127.0.0.1:7001``."""
    _, slot, place = str(error).split(" ")[:3]
    host, _, port = place.rpartition(":")
    return int(slot), Address(host, int(port))
