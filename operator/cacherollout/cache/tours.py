"""In which order to walk a cluster's primaries so that no key is missed while slots move.

A walk over a node meets every key that is there from its beginning to its end. So a slot is
*covered* by a walk over the node that alone held it all the while. A slot on its way from one node
to another is covered by a walk over the first and then one over the second, for keys move that way
only. Whatever changed hands meanwhile is walked again, on the node that holds it by then. Pure.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from cacherollout.cache.errors import NotReadyError
from cacherollout.cache.layouts import Holding, Layout
from cacherollout.cache.slots import SLOTS, spelled

_MAX_VAIN_WALKS: Final = 8


@dataclass(frozen=True, slots=True)
class Share:
    """What to walk over next: a node, and the slots of which it is walked for."""

    node: str
    slots: frozenset[int]


class Itinerary:
    """Which slots are not covered yet."""

    def __init__(self) -> None:
        self._missing: set[int] = set(range(SLOTS))
        self._half: dict[int, Holding] = {}
        """Slots on the move whose first holder is walked."""
        self._vain_walks = 0

    def next(self, layout: Layout) -> Share | None:
        """The node with the most slots that are missing; None when all are covered.

        Raises:
            NotReadyError: Walk after walk covered nothing, for the slots do not come to rest.

        """
        if not self._missing:
            return None
        # Of each node's slots on the move, the first of two walks covers none.
        if self._vain_walks >= _MAX_VAIN_WALKS + len(layout.nodes):
            raise NotReadyError(
                f"slots {spelled(sorted(self._missing))} keep changing hands, so keys in them may have "
                "been missed; let the resharding end, then run it again"
            )
        shares = {node: self._missing & slots for node, slots in layout.owned.items()}
        for slot, half in self._half.items():
            if half.heir is not None and half == layout.holding(slot):
                shares[half.owner].discard(slot)
                shares[half.heir].add(slot)
        node = max(shares, key=lambda node: (len(shares[node]), node))
        return Share(node, frozenset(shares[node]))

    def missing_without(self, share: Share) -> int:
        """How many slots are missing beside those of `share`."""
        return len(self._missing - share.slots)

    def walked(self, share: Share, before: Layout, after: Layout) -> None:
        """Take in that `share` was walked to its end, between two looks at the layout."""
        missing = len(self._missing)
        has_taken_over = _epoch(before, share.node) != _epoch(after, share.node)
        alone = _alone(before, share.node) & _alone(after, share.node)
        if not has_taken_over:
            self._missing -= share.slots & alone
        for slot in share.slots & self._missing:
            was, now = before.holding(slot), after.holding(slot)
            self._half.pop(slot, None)
            if (
                was.owner == now.owner == share.node
                and now.heir is not None
                and was.heir in {None, now.heir}
                and not has_taken_over
            ):
                self._half[slot] = now
            elif was.heir == share.node and now in {was, Holding(share.node)}:
                self._missing.discard(slot)  # `next` hands it to the heir only after the owner
        self._half = {slot: half for slot, half in self._half.items() if slot in self._missing}
        is_vain = missing == len(self._missing)
        self._vain_walks = self._vain_walks + 1 if is_vain else 0


def _alone(layout: Layout, node: str) -> AbstractSet[int]:
    """The slots that `node` has, and that are not on the move."""
    return layout.owned.get(node, frozenset()) - layout.heirs.keys()


def _epoch(layout: Layout, node: str) -> int | None:
    found = layout.nodes.get(node)
    return found.epoch if found else None
