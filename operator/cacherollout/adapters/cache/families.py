"""The families of a rollout as the engine knows them, kept within the backend's key prefixes."""

from collections.abc import Collection, Sequence
from typing import Final

from cacherollout.adapters.cache.problems import problem
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec, Codec
from cacherollout.cache import Codec as EngineCodec
from cacherollout.cache import Family, KeyTemplate, TemplateError, Writes

_SURE_TTL_SHARE: Final = 0.5
"""Applications scatter their TTLs; a value is taken for at most this much of the declared one."""


def refuse_foreign_versions_key(spec: CacheRolloutSpec, prefixes: Sequence[str]) -> None:
    """Raise ProblemError where the versions key lies outside the prefixes: it is written, too."""
    key = spec.cache.versions_key
    if key is None or key.startswith(tuple(prefixes)):
        return
    allowed = ", ".join(repr(prefix) for prefix in prefixes)
    raise problem(
        Reason.INVALID_SPEC,
        f"cache.versionsKey {key!r} must begin with an allowed prefix ({allowed}); choose another, "
        f"or let an admin add its prefix to keyPrefixes of CacheBackend "
        f"{spec.cache.backend_ref.name}",
    )


def engine_families(
    spec: CacheRolloutSpec, prefixes: Sequence[str], compatible: Collection[str] = ()
) -> tuple[Family, ...]:
    """Every declared family; those named in `compatible` may be copied.

    Always all of them: only so the engine can tell a narrow template's keys from a broad one's.
    Raises ProblemError where a key lies outside the prefixes.
    """
    families = []
    for index, family in enumerate(spec.cache.families):
        try:
            template = KeyTemplate.parse(family.key, tuple(prefixes))
        except TemplateError as error:
            raise problem(
                Reason.INVALID_SPEC,
                f"cache.families[{index}].key: {error}; choose another key, or let an admin add its "
                f"prefix to keyPrefixes of CacheBackend {spec.cache.backend_ref.name}",
            ) from error
        families.append(
            Family(
                name=family.name,
                template=template,
                is_compatible=family.name in compatible,
                writes=Writes(family.writes.value),
                ttl_seconds=family.ttl * _SURE_TTL_SHARE or None,
                codec=EngineCodec.JSON if family.codec is Codec.JSON else EngineCodec.RAW,
                required=tuple(family.required or ()),
            )
        )
    return tuple(families)
