"""Slots of keys, keys of commands, and what a cluster says about itself."""

import pytest

from cacherollout.cache.errors import AskError, ClusterDownError, MovedError
from cacherollout.cache.layouts import (
    Address,
    Holding,
    Layout,
    Node,
    SlotMap,
    read_view,
    redirection,
)
from cacherollout.cache.slots import SLOTS, keys_of, slot_of, spelled

ASKED = Address("10.0.0.1", 7001)
SAID = b"""\
07c3 10.0.0.1:7004@31004,hostname4 slave e7d1 0 1426238317239 4 connected
67ed 10.0.0.2:7002@31002,,shard-id=aa master - 0 1426238316232 2 connected 5461-10922 [93-<-e7d1]
e7d1 :7001@31001,one.example myself,master - 0 0 1 connected 0-5460 5999 [93->-67ed]
6ec2 10.0.0.3:7003@31003 master,fail - 0 1426238318243 3 disconnected
824f 10.0.0.5:7005@31005 master,noaddr - 0 0 9 disconnected
short line
"""


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 0x31C3),  # the reference value of the specification
        (b"", 0),
        (b"foo{123456789}bar", 0x31C3),
        (b"foo{}{bar}", 8363),
        (b"foo{{bar}}zap", 4015),
    ],
)
def test_the_slot_of_a_key(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


def test_the_keys_of_a_command() -> None:
    assert keys_of((b"UNLINK", b"a", b"b")) == (b"a", b"b")
    assert keys_of((b"COPY", b"a", b"b", b"REPLACE")) == (b"a", b"b")
    assert keys_of((b"MEMORY", b"USAGE", b"a")) == (b"a",)
    assert keys_of((b"RESTORE", b"a", 0, b"dump")) == (b"a",)
    assert keys_of((b"SCAN", b"0", b"MATCH", b"a*")) == ()
    with pytest.raises(ValueError, match="FLUSHALL"):
        keys_of((b"FLUSHALL",))


def test_slots_are_spelled_in_runs() -> None:
    assert spelled([3, 1, 2, 7]) == "1-3, 7"
    assert spelled(range(0, 20, 2)) == "0, 2, 4, 6, …"


def test_a_view_is_read_as_the_node_said_it() -> None:
    replica, other, me, dead, lost = read_view(SAID, ASKED)
    assert me.address == ASKED
    assert (me.hostname, me.epoch, me.is_myself, me.is_primary) == ("one.example", 1, True, True)
    assert me.slots == {*range(5461), 5999}
    assert (me.leaving, other.arriving) == ({93: "67ed"}, {93: "e7d1"})
    assert (other.address, other.hostname) == (Address("10.0.0.2", 7002), "")
    assert [node.is_primary for node in (replica, other, dead, lost)] == [False, True, False, False]


def test_the_higher_epoch_has_the_slot_and_nobody_is_named() -> None:
    everything = frozenset(range(SLOTS))
    old = Node("old", Address("a", 1), epoch=1, slots=everything, leaving={3: "new", 4: "unknown"})
    new = Node("new", Address("b", 2), epoch=2, slots=frozenset({7}), arriving={5: "old"})
    layout = Layout([new, old])
    assert layout.holding(7) == Holding("new")
    assert layout.holding(6) == Holding("old")
    assert layout.holding(3) == layout.holding(5) == Holding("old", "new")
    stale = Node("new", Address("b", 2), epoch=2, slots=frozenset({7}), arriving={7: "old"})
    assert Layout([stale, old]).holding(7) == Holding("new"), "it has arrived"
    assert layout.holding(4) == Holding("old"), "nobody knows where it goes"
    with pytest.raises(ClusterDownError, match="slots 0-6, 8-16383"):
        Layout([new])

    places = SlotMap()
    with pytest.raises(ClusterDownError, match="slot 7"):
        places.place(7)
    places.learn([new, old])
    assert (places.place(7), places.place(8)) == (Address("b", 2), Address("a", 1))
    places.move(8, Address("b", 2))
    assert sorted(places.of(Address("b", 2))) == [7, 8]


def test_a_redirection_says_where() -> None:
    assert redirection(MovedError("MOVED 866 127.0.0.1:7001")) == (866, Address("127.0.0.1", 7001))
    assert redirection(AskError("ASK 866 ::1:7001")) == (866, Address("::1", 7001))
    assert redirection(MovedError("MOVED 866 :7001")) == (866, Address("", 7001))
