"""A Deployment's template as a release: its container, version and revision, and whose they are.

Pure.
"""

from dataclasses import dataclass

from cacherollout.adapters.kube import ownership, templates
from cacherollout.adapters.kube.resources import Manifest
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.ports.errors import SpecError


@dataclass(frozen=True, slots=True)
class Reading:
    """What the target's template says."""

    container: str
    """Container that carries the version."""
    version: str | None
    """Value of the version entry, whoever wrote it."""
    is_env_ours: bool
    """Nobody but the operator states that entry."""
    revision: str

    @property
    def stated(self) -> str | None:
        """The version that somebody else than the operator asks for."""
        return None if self.is_env_ours else self.version


def read_template(
    manifest: Manifest, spec: CacheRolloutSpec, *, is_lenient: bool = False
) -> Reading:
    """Read the target's template; SpecError where it cannot be known what it asks for.

    `is_lenient` takes the first container instead of asking: good enough to undo, never to start.
    """
    template, env = manifest["spec"]["template"], spec.cache.env
    try:
        container = templates.version_container(template, env, spec.target_ref.container)
        version = templates.version_in(template, container, env)
    except SpecError:
        if not is_lenient:
            raise
        container = str(template["spec"]["containers"][0]["name"])
        version = None
    is_ours = ownership.is_env_ours(manifest, container, env)
    revision = templates.revision_of(template, container, env, is_env_ours=is_ours)
    return Reading(container, version, is_ours, revision)
