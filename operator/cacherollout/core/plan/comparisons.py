"""The chosen settings beside what else could be done with the same release."""

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Final

from cacherollout.api.rollout import Warm
from cacherollout.core.plan import schedules
from cacherollout.core.plan.courses import Course
from cacherollout.core.plan.releases import release
from cacherollout.core.plan.scenes import Scene
from cacherollout.core.warmup import FamilyPlan

CHOSEN: Final = "as set"


class Way(StrEnum):
    """Ways of releasing under the operator, other than the one that is set."""

    COPY = "operator, copy and mirror"
    REPLAY = "operator, replay"
    COLD = "operator, cold"


_ANY_PATH: Final = "/any/{id}"
"""Nothing is asked of it in a plan."""
_WARM: Final = {Way.COPY: Warm.COPY, Way.REPLAY: Warm.REPLAY, Way.COLD: Warm.NONE}


def compare(scene: Scene) -> tuple[Course, ...]:
    """The chosen settings first, then the alternatives; the operator's keep all other settings."""
    return tuple(_courses(scene))


def _courses(scene: Scene) -> Iterator[Course]:
    yield release(scene, f"operator, {CHOSEN} ({method(scene)})")
    if scene.families == FamilyPlan():
        # Both releases use the same keys: however it is rolled out, the cache stays as it is.
        return
    for way in Way:
        other = _warmed(scene, _WARM[way])
        if other.families != scene.families:
            yield release(other, way)
    budget = scene.spec.budget()
    for course in (
        schedules.copied_once(scene.populations, scene.copies_per_second),
        schedules.fixed_steps(scene.populations),
        schedules.rolling_update(scene.populations, scene.shape),
        schedules.at_once(scene.populations),
    ):
        yield replace(course, budget=budget)


def method(scene: Scene) -> str:
    """How the families of a scene are filled, in words."""
    found = scene.families
    words = {"copy": found.copied, "replay": found.replayed, "cold": found.cold}
    return " and ".join(word for word, families in words.items() if families) or "shared keys"


def _warmed(scene: Scene, warm: Warm) -> Scene:
    """The same scene with every family filled that way, as if its values could be."""
    families = [
        family.model_copy(update={"warm": warm, "replay_path": family.replay_path or _ANY_PATH})
        for family in scene.spec.cache.families
    ]
    cache = scene.spec.cache.model_copy(update={"families": families})
    spec = scene.spec.model_copy(update={"cache": cache})
    return replace(scene, spec=spec, fingerprints=spec.fingerprints())
