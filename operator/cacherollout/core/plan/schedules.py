"""What people do without the operator: everything at once, a rolling update, steps by the clock."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Final

from cacherollout.core.plan.clusters import Cluster, Shape
from cacherollout.core.plan.courses import Course, Sample, load
from cacherollout.core.plan.stores import Apart, Population, Store

FIXED_STEPS: Final = (0.1, 0.25, 0.5, 1.0)
"""Shares of the usual canary by the clock."""
STEP_SECONDS: Final = 60.0
"""Time at each of them."""
TAIL_SECONDS: Final = 900.0
"""Longest time that is looked at after the last step: what was filled together expires together."""

Share = Callable[[int], float]
"""Share (0…1) of the traffic that the new version takes in a second, counted from the start."""


def at_once(populations: Sequence[Population]) -> Course:
    """All traffic moves in one moment, onto a cold namespace."""
    return _run("all at once", populations, lambda _: 1.0, 1)


def copied_once(populations: Sequence[Population], copies_per_second: float) -> Course:
    """All keys are copied, then all traffic moves in one moment.

    Nothing keeps the copies warm while others are still being made, so on average they have aged by
    half of the time that it takes.
    """
    families = [Apart(each) for each in populations]
    seconds = ceil(sum(family.sizes()[0] for family in families) / copies_per_second)
    before = Sample(0.0, Store(list(families)).advance(0.0), Store(list(families)).bytes())
    families = [Apart(each) for each in populations]
    for family in families:
        family.copy(age=seconds // 2)
    return _run(
        "copy once, then all at once",
        populations,
        lambda _: 1.0,
        1,
        families=families,
        before=[before] * seconds,
    )


def rolling_update(populations: Sequence[Population], shape: Shape) -> Course:
    """The Deployment's own rolling update, as fast as its pods start."""
    cluster = Cluster(shape, is_paused=False)
    shares = []
    while not cluster.target_facts().is_complete:
        cluster.control()
        shares.append(cluster.share)
        cluster.now += 1
    return _run(
        "plain rolling update",
        populations,
        lambda second: shares[min(second, len(shares) - 1)],
        len(shares),
    )


def fixed_steps(
    populations: Sequence[Population],
    steps: Sequence[float] = FIXED_STEPS,
    seconds: float = STEP_SECONDS,
) -> Course:
    """A canary whose share grows by the clock."""
    names = "/".join(f"{step * 100:g}" for step in steps)
    return _run(
        f"fixed steps {names} %, {seconds:g} s",
        populations,
        lambda second: steps[min(int(second // seconds), len(steps) - 1)],
        round(seconds * (len(steps) - 1)) + 1,
    )


def tail_seconds(populations: Sequence[Population]) -> int:
    """How long to go on after the end, for the echo one TTL later."""
    return round(min(TAIL_SECONDS, 1.25 * max(each.ttl for each in populations)))


def _run(
    name: str,
    populations: Sequence[Population],
    share: Share,
    promoted_at: int,
    *,
    families: Sequence[Apart] = (),
    before: Sequence[Sample] = (),
) -> Course:
    """A course that begins with `before`; `families` are cold where none are given."""
    normal = load(Store([Apart(each) for each in populations]).advance(0.0))
    store = Store([*families] or [Apart(each) for each in populations])
    samples = [*before]
    for second in range(promoted_at + tail_seconds(populations)):
        now = share(second)
        samples.append(Sample(now, store.advance(now), store.bytes()))
    return Course(name, normal, tuple(samples), promoted_at=float(len(before) + promoted_at - 1))
