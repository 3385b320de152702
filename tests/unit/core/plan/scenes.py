"""Scenes in which a test states only what matters to it."""

from typing import Any

from cacherollout.core.plan.clusters import Shape
from cacherollout.core.plan.popularity import zipf
from cacherollout.core.plan.scenes import Scene
from cacherollout.core.plan.stores import Population
from tests.factories import spec

SHAPE = Shape(replicas=10, surge=3, unavailable=0, start_seconds=5.0)


def scene(
    *,
    warm: str = "None",
    keys: int = 20_000,
    lookups: float = 2000.0,
    ttl: float = 60.0,
    shape: Shape = SHAPE,
    settings: dict[str, Any] | None = None,
    **parts: Any,
) -> Scene:
    """One family, filled that way; a short soak, since time is what tests have least of."""
    family = {"name": "user", "key": "user:{version}:{id}", "warm": warm, "ttl": f"{ttl:g}s"}
    if warm == "Replay":
        family["replayPath"] = "/users/{id}"
    made = spec(family, **{"soak": "60s", **(settings or {})})
    return Scene(
        made,
        (Population("user", zipf(keys, 1.0), lookups, ttl, key_bytes=400.0),),
        shape,
        parts.pop("fingerprints", made.fingerprints()),
        **parts,
    )
