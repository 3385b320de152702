"""No key is missed however slots move: the itinerary against a cluster that moves them at will.

The model's SCAN is the weakest that the server promises: it meets a key only if that is there from
the walk's beginning to its end.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacherollout.cache.errors import NotReadyError
from cacherollout.cache.layouts import Address, Layout, Node
from cacherollout.cache.slots import SLOTS
from cacherollout.cache.tours import Itinerary

NAMES = ("a", "b", "c")
MOVING = (0, 1, 2)
"""Slots that move; all others stay with the first node."""
KEYS = 2
"""Keys of each of them."""

Key = tuple[int, int]


@dataclass
class World:
    """Who owns a slot, where it is going, where each key is, and how often nodes took over."""

    owners: dict[int, str] = field(default_factory=lambda: dict(zip(MOVING, NAMES, strict=True)))
    heirs: dict[int, str] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 1))
    places: dict[Key, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = {(slot, n): self.owners[slot] for slot in MOVING for n in range(KEYS)}

    def look(self) -> Layout:
        rest = frozenset(range(len(MOVING), SLOTS))
        return Layout(
            Node(
                name,
                Address(name, 1),
                epoch=self.epochs[name],
                slots=frozenset(s for s, o in self.owners.items() if o == name)
                | (rest if name == NAMES[0] else frozenset()),
                leaving={s: h for s, h in self.heirs.items() if self.owners[s] == name},
                arriving={s: self.owners[s] for s, h in self.heirs.items() if h == name},
            )
            for name in NAMES
        )

    def step(self, slot: int, what: str, node: str) -> None:
        """One thing that an administrator may do; what makes no sense does nothing."""
        owner, heir = self.owners[slot], self.heirs.get(slot)
        keys = [(slot, n) for n in range(KEYS)]
        if what == "open" and heir is None and node != owner:
            self.heirs[slot] = node
        elif what == "send" and heir:
            moving = next((key for key in keys if self.places[key] == owner), None)
            if moving:
                self.places[moving] = heir
        elif what == "close" and heir and all(self.places[key] == heir for key in keys):
            self.owners[slot] = heir
            self.epochs[heir] = max(self.epochs.values()) + 1
            del self.heirs[slot]


steps = st.tuples(
    st.sampled_from(MOVING), st.sampled_from(["open", "send", "close"]), st.sampled_from(NAMES)
)
moments = st.lists(st.lists(steps, max_size=12), max_size=12)


@given(before=moments, during=moments)
@settings(deadline=None)
def test_every_key_is_met(
    before: list[list[tuple[int, str, str]]], during: list[list[tuple[int, str, str]]]
) -> None:
    world, itinerary, met = World(), Itinerary(), set[Key]()
    look = world.look()
    while (share := itinerary.next(look)) is not None:
        # Between a look and the walk's begin, and between the walk's end and the next look, too.
        for step in before.pop() if before else ():
            world.step(*step)
        there = {key for key, place in world.places.items() if place == share.node}
        for step in during.pop() if during else ():
            world.step(*step)
            there &= {key for key, place in world.places.items() if place == share.node}
        met |= {key for key in there if key[0] in share.slots}
        look_after = world.look()
        itinerary.walked(share, look, look_after)
        look = look_after
    assert met == world.places.keys()


def test_a_cluster_at_rest_is_walked_once() -> None:
    world, itinerary = World(), Itinerary()
    look = world.look()
    walked = []
    while (share := itinerary.next(look)) is not None:
        walked.append(share.node)
        itinerary.walked(share, look, look)
    assert sorted(walked) == [*NAMES]


def test_a_slot_on_the_move_is_walked_from_source_to_target() -> None:
    world, itinerary = World(), Itinerary()
    world.step(1, "open", "c")
    look = world.look()
    shares = []
    while (share := itinerary.next(look)) is not None:
        shares.append(share)
        itinerary.walked(share, look, look)
    assert [share.node for share in shares if 1 in share.slots] == ["b", "c"]


def test_a_slot_that_went_and_came_back_meanwhile_is_walked_again() -> None:
    """Who has it is the same before and after; that it was taken over twice tells."""
    world, itinerary = World(), Itinerary()

    def move(slot: int, node: str) -> None:
        world.step(slot, "open", node)
        for _ in range(KEYS):
            world.step(slot, "send", node)
        world.step(slot, "close", node)

    before = world.look()
    share = itinerary.next(before)
    assert share is not None
    assert (share.node, 0 in share.slots) == ("a", True)
    move(0, "b")
    move(0, "a")
    itinerary.walked(share, before, world.look())
    assert itinerary.next(world.look()) == share


def test_a_slot_whose_move_was_given_up_for_another_is_not_covered_by_half() -> None:
    world, itinerary = World(), Itinerary()
    world.step(0, "open", "b")
    before = world.look()
    share = itinerary.next(before)
    assert share is not None
    assert share.node == "a"
    world.heirs[0] = "c"  # what had gone to b came back, behind the walk
    itinerary.walked(share, before, world.look())
    look, walked = world.look(), []
    while (share := itinerary.next(look)) is not None:
        walked += [share.node] if 0 in share.slots else []
        itinerary.walked(share, look, look)
    assert walked == ["a", "c"], "from its beginning again"


def test_slots_that_never_rest_are_said_to_be_so() -> None:
    world, itinerary = World(), Itinerary()

    def walk_while_slot_0_moves(times: int) -> None:
        for _ in range(times):
            before = world.look()
            share = itinerary.next(before)
            assert share is not None, "slot 0 cannot be covered"
            world.step(0, "open", NAMES[(NAMES.index(world.owners[0]) + 1) % len(NAMES)])
            for _ in range(KEYS):
                world.step(0, "send", "")
            world.step(0, "close", "")
            itinerary.walked(share, before, world.look())

    with pytest.raises(NotReadyError, match="slots 0 keep changing hands"):
        walk_while_slot_0_moves(times=100)


def test_moves_that_are_begun_and_given_up_in_turn_are_no_rest_either() -> None:
    world, itinerary = World(), Itinerary()

    def walk_while_a_move_is_begun_or_given_up(times: int) -> None:
        for turn in range(times):
            before = world.look()
            share = itinerary.next(before)
            assert share is not None, "slot 0 cannot be covered"
            if turn % 2:
                del world.heirs[0]
            else:
                world.step(0, "open", "b")
            itinerary.walked(share, before, world.look())

    with pytest.raises(NotReadyError, match="slots 0 keep changing hands"):
        walk_while_a_move_is_begun_or_given_up(times=100)
