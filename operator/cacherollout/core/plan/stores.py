"""What the cache holds of both versions while the traffic moves from one to the other.

`Apart` has two namespaces that know nothing of each other, as without the operator. `Linked` has
them as the operator's mirror keeps them (cache/mirrors.py): a fill of the stable version is copied,
where the family is; a removal through either, an expiry among them, removes both. So a key lives
from its first fill to its expiry in whichever namespaces it reached by then, and what is present in
*either* follows from all lookups together and never changes. What costs the origin is only what is
in one of them alone, and asked for through the other.
"""

from dataclasses import dataclass, field
from typing import Final, Protocol

from cacherollout.core.plan.layers import Layer, Lifetime, Row
from cacherollout.core.plan.popularity import Popularity

REPLAYED_IDS: Final = 10_000
"""Hottest ids of a family that are replayed at most, as the engine's `Hot` gives them."""


@dataclass(frozen=True, slots=True)
class Population:
    """The keys of one family, and what is asked of them."""

    name: str
    popularity: Popularity
    lookups: float
    """Per second."""
    ttl: float
    """Seconds from the fill."""
    writes: float = 0.0
    """Invalidations per second; keys are written as often as they are read, in proportion."""
    load_seconds: float = 0.0
    """Time that a load from the origin takes, in which others that miss the key load it as well."""
    key_bytes: float = 0.0
    """Memory of one key with its value."""

    @property
    def lifetime(self) -> Lifetime:
        """How long its keys live."""
        return Lifetime.of(self.ttl)

    def misses(self, per_key: Row, lookups: float) -> float:
        """Misses when one key of each bucket is filled that often through one namespace."""
        return sum(
            size * fills * (1 + lookups * weight * self.load_seconds)
            for size, weight, fills in zip(
                self.popularity.keys, self.popularity.weights, per_key, strict=True
            )
        )

    def count(self, present: Row) -> float:
        """Keys that are there."""
        return sum(size * each for size, each in zip(self.popularity.keys, present, strict=True))


@dataclass(frozen=True, slots=True)
class Flow:
    """What one second brought; `old` is the stable version, `new` the one that comes."""

    old_lookups: float = 0.0
    old_misses: float = 0.0
    new_lookups: float = 0.0
    new_misses: float = 0.0
    replayed: float = 0.0
    """Loads that replaying caused."""

    def __add__(self, other: "Flow") -> "Flow":
        return Flow(
            self.old_lookups + other.old_lookups,
            self.old_misses + other.old_misses,
            self.new_lookups + other.new_lookups,
            self.new_misses + other.new_misses,
            self.replayed + other.replayed,
        )

    @property
    def misses(self) -> float:
        """Lookups that the cache could not answer."""
        return self.old_misses + self.new_misses

    @property
    def hit_rate(self) -> float:
        """Share (0…1) of all lookups that the cache answered."""
        lookups = self.old_lookups + self.new_lookups
        return 1 - self.misses / lookups if lookups else 1.0


class Namespaces(Protocol):
    """One family under two versions."""

    @property
    def population(self) -> Population:
        """Its keys."""

    def advance(self, share: float) -> Flow:
        """One second in which that share (0…1) of the lookups goes to the new version."""

    def sizes(self) -> tuple[float, float]:
        """Keys under the old and the new version."""


class Apart:
    """Two namespaces that nothing connects; the new one is empty until it is copied."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self._old = _steady(population)
        self._new = Layer(population.popularity.weights, population.lifetime)

    def copy(self, age: int = 0) -> None:
        """Copy every key at once, so many seconds ago; the copies have aged since."""
        self._new = self._old.copy()
        for _ in range(min(age, self.population.lifetime.late)):
            self._new.advance(0.0, self.population.writes)

    def advance(self, share: float) -> Flow:
        """One second; see Namespaces."""
        population = self.population
        old, new = population.lookups * (1 - share), population.lookups * share
        return Flow(
            old,
            _bounded(population.misses(self._old.advance(old, population.writes).fills, old), old),
            new,
            _bounded(population.misses(self._new.advance(new, population.writes).fills, new), new),
        )

    def sizes(self) -> tuple[float, float]:
        """Keys under either version."""
        return self.population.count(self._old.present), self.population.count(self._new.present)


class Linked:
    """Two namespaces under the mirror. A copied family is copied by `copy`, another by `replay`."""

    def __init__(self, population: Population, *, is_copied: bool) -> None:
        self.population = population
        self.is_copied = is_copied
        self.copied_share = 0.0
        """Share (0…1) of a copied family that is in the new namespace."""
        self._either = _steady(population)
        self._fills = self._either.copy().advance(population.lookups, population.writes).fills
        self._only_old = self._either.copy()
        self._only_new = Layer(population.popularity.weights, population.lifetime)
        self._replayed = 0.0

    def advance(self, share: float) -> Flow:
        """One second; see Namespaces."""
        population = self.population
        old, new = population.lookups * (1 - share), population.lookups * share
        fills = self._fills
        lacking_in_new: Row = [0.0] * len(fills)
        if not self.is_copied:
            gains = [(1 - share) * each for each in fills]
            lacking_in_new = self._only_old.advance(0.0, new + population.writes, gains).mean
        gains = [share * each for each in fills]
        lacking_in_old = self._only_new.advance(0.0, old + population.writes, gains).mean
        flow = Flow(
            old,
            _bounded(self._misses(old, lacking_in_old), old),
            new,
            _bounded(self._misses(new, lacking_in_new), new),
            self._replayed,
        )
        self._replayed = 0.0
        return flow

    def _misses(self, lookups: float, lacking: Row) -> float:
        """Misses through one namespace, which lacks what the other has alone."""
        population = self.population
        per_key = [
            lookups * weight * (1 - present + alone)
            for weight, present, alone in zip(
                population.popularity.weights, self._either.present, lacking, strict=True
            )
        ]
        return population.misses(per_key, lookups)

    def copy_keys(self, count: float) -> None:
        """Copy that many keys more."""
        whole = max(self.population.count(self._either.present), 1e-9)
        self.copied_share = min(1.0, self.copied_share + count / whole)

    def replay_keys(self, count: float) -> None:
        """Ask the new version for that many of the hot ids that it lacks, the hottest first.

        Each is a load from the origin, which the stable version's own keys do not feel.
        """
        for bucket, (size, missing) in enumerate(self._hot()):
            lacking = size * missing
            asked = min(count, lacking)
            if asked <= 0:
                continue
            self._only_old.take(bucket, asked / lacking)
            self._replayed += asked
            count -= asked

    def coverage(self) -> float:
        """Share (0…1) of the hot ids that the new version holds."""
        hot = self._hot()
        whole = sum(
            size * present for (size, _), present in zip(hot, self._either.present, strict=False)
        )
        return 1 - sum(size * missing for size, missing in hot) / whole if whole else 1.0

    def hot_ids(self) -> float:
        """Number of the hot ids."""
        return min(float(REPLAYED_IDS), self.population.count(self._either.present))

    def sizes(self) -> tuple[float, float]:
        """Keys under either version."""
        population = self.population
        both = population.count(self._either.present)
        old = both - population.count(self._only_new.present)
        if self.is_copied:
            return old, both * self.copied_share
        return old, both - population.count(self._only_old.present)

    def _hot(self) -> list[tuple[float, float]]:
        """Per bucket of the hottest ids: how many keys are hot, how likely the new one lacks one."""
        left, hot = float(REPLAYED_IDS), []
        for size, present, missing in zip(
            self.population.popularity.keys,
            self._either.present,
            self._only_old.present,
            strict=True,
        ):
            if left <= 0:
                break
            taken = min(size, left / present) if present > 0 else 0.0
            hot.append((taken, missing))
            left -= taken * present
        return hot


@dataclass(slots=True)
class Store:
    """All families of a cache."""

    families: list[Namespaces] = field(default_factory=list)

    def advance(self, share: float) -> Flow:
        """One second; see Namespaces."""
        return sum((family.advance(share) for family in self.families), Flow())

    def bytes(self) -> float:
        """Memory of the keys of both versions."""
        return sum(sum(family.sizes()) * family.population.key_bytes for family in self.families)


def _steady(population: Population) -> Layer:
    return Layer.steady(
        population.popularity.weights, population.lifetime, population.lookups, population.writes
    )


def _bounded(misses: float, lookups: float) -> float:
    """Loads of one key beside one another cannot be more than its lookups."""
    return min(misses, lookups)
