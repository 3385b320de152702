"""From the stored spec to the typed one, with errors that name the field and the fix.

The API server's schema refuses almost everything first; what is left was stored before a rule
existed. A rollout that is being deleted must not depend on its spec being right: `salvage` keeps
whatever of it can still be read.
"""

from copy import deepcopy
from typing import Any, Final

from pydantic import ValidationError

from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.ports.errors import SpecError

Location = tuple[int | str, ...]

_REQUIRED: Final = frozenset(
    str(field.alias) for field in CacheRolloutSpec.model_fields.values() if field.is_required()
)


def parse(spec: dict[str, Any]) -> CacheRolloutSpec:
    """The typed spec; SpecError names the first wrong field and says what it wants."""
    try:
        return CacheRolloutSpec.model_validate(spec)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        first = problems[0]
        text = str(first["msg"]).removeprefix("Value error, ")
        more = {1: "", 2: " (1 more field is wrong)"}.get(
            len(problems), f" ({len(problems) - 1} more fields are wrong)"
        )
        raise SpecError(f"{spell(first['loc'])}: {text}{more}") from error


def salvage(spec: dict[str, Any]) -> CacheRolloutSpec | None:
    """The spec without its unreadable fields, their defaults instead; None if nothing is left.

    Good enough to undo what was done, never to start anything.
    """
    kept: dict[str, Any] = deepcopy(spec)
    for _ in range(64):
        try:
            return CacheRolloutSpec.model_validate(kept)
        except ValidationError as error:
            location = error.errors(include_url=False)[0]["loc"]
            # A rule between fields of the spec itself names none of them: what is optional goes.
            optional = kept.keys() - _REQUIRED
            if not location and optional:
                kept = {name: part for name, part in kept.items() if name in _REQUIRED}
            elif not _prune(kept, location):
                return None
    return None


def spell(location: Location) -> str:
    """A field's path as users write it, such as `spec.cache.families[0].key`."""
    path = "spec"
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path


def _prune(node: Any, location: Location) -> bool:
    """Remove the field at `location`, or the nearest part around it that is there."""
    holders: list[tuple[Any, int | str]] = []
    for part in location:
        is_field = isinstance(node, dict) and part in node
        is_item = isinstance(node, list) and isinstance(part, int) and part < len(node)
        if not (is_field or is_item):
            break
        holders.append((node, part))
        node = node[part]
    # A missing required field makes its parent unreadable: that goes as a whole.
    if not holders:
        return False
    holder, part = holders[-1]
    del holder[part]
    return True
