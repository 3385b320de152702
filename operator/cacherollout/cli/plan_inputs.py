"""What a plan is made of: flags over files over what a cluster shows over defaults.

Everything is gathered as users write it, then read once, so that every mistake is reported the same
way whichever of them it came from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import Path
from typing import Annotated, Any, Final

import click
import yaml
from pydantic import ConfigDict, Field, StringConstraints, ValidationError

from cacherollout.api.backend import CacheBackendSpec, Limits
from cacherollout.api.models import Model
from cacherollout.api.names import BACKEND_KIND, ROLLOUT_KIND
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.api.scalars import Duration, Percent
from cacherollout.core.plan.clusters import Shape
from cacherollout.core.plan.popularity import MOST_KEYS, fitting, zipf
from cacherollout.core.plan.scenes import Scene
from cacherollout.core.plan.stores import Population
from cacherollout.ports.errors import SpecError
from cacherollout.shell.specs import parse

Raw = dict[str, Any]

_DEPLOYMENT_KIND: Final = "Deployment"
_LEAST_TTL: Final = 5.0
"""Seconds; the model moves on by the second."""

PodShare = (
    Annotated[int, Field(ge=0, le=10_000)]
    | Annotated[str, StringConstraints(pattern=r"^([0-9]{1,2}|100)%$")]
)


class Load(Model):
    """What is asked of the application and its cache, and the pods that answer."""

    model_config = ConfigDict(extra="forbid")

    lookups_per_second: float = Field(gt=0, le=1e9)
    """Cache lookups of all pods together."""
    hit_rate: Percent | None = None
    """Share of them that the cache answers; decides how many keys there are."""
    keys: int | None = Field(default=None, ge=1, le=MOST_KEYS)
    """Keys of each family that are ever asked for; instead of hitRate."""
    skew: float = Field(default=1.0, ge=0.1, le=3)
    """Zipf's exponent: how much more the hottest keys are asked for."""
    shares: dict[str, Annotated[float, Field(gt=0)]] | None = None
    """How the lookups divide over the families, in any unit; equally where absent."""
    writes_per_second: float = Field(default=0.0, ge=0, le=1e9)
    """Writes that remove cached keys."""
    load_time: Duration = Field(default=0.0, le=1)
    """Time in which pods that miss the same key load it beside one another; 0s where they wait."""
    key_bytes: float = Field(default=400.0, gt=0)
    """Memory of one key with its value."""
    replicas: int = Field(default=10, ge=1, le=10_000)
    """Pods of the target."""
    max_surge: PodShare = "25%"
    """Of its rolling update, as in the Deployment."""
    max_unavailable: PodShare = "25%"
    """The same."""
    pod_start: Duration = Field(default=10.0, le=3600)
    """From a pod's creation to its readiness."""
    used_bytes: int | None = Field(default=None, ge=0)
    """Memory that the cache uses now."""
    limit_bytes: int | None = Field(default=None, ge=1)
    """Memory that it may use."""

    def shape(self) -> Shape:
        """The pods, with shares resolved as Kubernetes does."""
        surge = _of(self.max_surge, self.replicas, ceil)
        unavailable = _of(self.max_unavailable, self.replicas, floor)
        if surge == unavailable == 0:
            unavailable = 1
        return Shape(self.replicas, surge, unavailable, self.pod_start)


@dataclass(slots=True)
class Inputs:
    """Everything as users write it; later parts go over earlier ones."""

    name: str = ""
    spec: Raw | None = None
    load: Raw = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    fingerprints: Mapping[str, str] | None = None
    """Of the stable release; None: nothing changes in any schema."""
    stable_version: str = "v1"
    notes: list[str] = field(default_factory=list)
    """What people should know of where the figures come from."""

    def read(self, path: Path) -> None:
        """Take in every document of a file: resources, and a document `load: …`."""
        try:
            documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise click.UsageError(f"-f {path}: is not YAML: {str(error)[:200]}") from error
        for document in documents:
            if document is not None:
                self._take(path, document)

    def _take(self, path: Path, document: Any) -> None:
        kind = document.get("kind") if isinstance(document, dict) else None
        spec = document.get("spec") if kind else {}
        if not isinstance(spec, dict):
            raise click.UsageError(f"-f {path}: the {kind} has no spec; give the whole resource.")
        match kind:
            case str() if kind == ROLLOUT_KIND:
                self.name = str((document.get("metadata") or {}).get("name", ""))
                self.spec = spec
            case str() if kind == BACKEND_KIND:
                self.limits = _validated(CacheBackendSpec, spec, "spec").limits
            case str() if kind == _DEPLOYMENT_KIND:
                self.load |= pods_of(spec)
            case None if isinstance(document, dict) and isinstance(document.get("load"), dict):
                self.load |= document["load"]
            case _:
                raise click.UsageError(
                    f"-f {path}: write a {ROLLOUT_KIND}, a {BACKEND_KIND}, a Deployment, or a "
                    "document `load:` with lookupsPerSecond and hitRate."
                )

    def settle(self, *, ttl: str | None, warm: str | None, settings: Mapping[str, Any]) -> None:
        """Take in the flags about the rollout: of every family, and `settings` by path."""
        spec = dict(self.spec or _SPEC)
        cache = dict(spec.get("cache") or {})
        change: Raw = {}
        if ttl is not None:
            change["ttl"] = ttl
        if warm is not None:
            change["warm"] = warm
            change |= {"replayPath": "/any/{id}"} if warm == "Replay" else {}
        cache["families"] = [{**each, **change} for each in cache.get("families") or []]
        spec["cache"] = cache
        for path, value in settings.items():
            if value is None:
                continue
            outer, _, inner = path.partition(".")
            spec[outer] = {**(spec.get(outer) or {}), inner: value} if inner else value
        self.spec = spec

    def scene(self) -> Scene:
        """The typed whole; UsageError names the field and the fix."""
        try:
            spec = parse(self.spec or _SPEC)
        except SpecError as error:
            raise click.UsageError(str(error)) from error
        why = "".join(f" ({note})" for note in self.notes)
        if self.load.get("lookupsPerSecond") is None:
            raise click.UsageError(
                "load.lookupsPerSecond: is missing; write --lookups, such as 2000, or name a "
                f"CacheRollout that has traffic.{why}"
            )
        load = _validated(Load, self.load, "load")
        if load.keys is None and load.hit_rate is None:
            raise click.UsageError(
                f"load.hitRate: is missing; write --hit-rate, such as 90%, or --keys.{why}"
            )
        prints = spec.fingerprints()
        return Scene(
            spec=spec,
            populations=_populations(spec, load),
            shape=load.shape(),
            fingerprints=prints if self.fingerprints is None else self.fingerprints,
            stable_version=self.stable_version,
            limits=self.limits,
            used_bytes=load.used_bytes,
            limit_bytes=load.limit_bytes,
        )


_SPEC: Final[Raw] = {
    "targetRef": {"name": "app"},
    "cache": {
        "backendRef": {"name": "cache"},
        "families": [{"name": "all", "key": "all:{version}:{id}"}],
    },
}
"""A rollout of which nothing is known: one family, everything else as by default."""


def pods_of(deployment: Mapping[str, Any]) -> Raw:
    """The part of `load` that a Deployment's spec states."""
    strategy = deployment.get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    found = {"replicas": deployment.get("replicas", 1)}
    if strategy.get("type") == "Recreate":
        return found | {"maxSurge": 0, "maxUnavailable": "100%"}
    return found | {key: rolling[key] for key in ("maxSurge", "maxUnavailable") if key in rolling}


def _populations(spec: CacheRolloutSpec, load: Load) -> tuple[Population, ...]:
    families = spec.cache.families
    shares = load.shares or {family.name: 1.0 for family in families}
    wrong = [*(shares.keys() ^ {family.name for family in families})]
    if wrong:
        raise click.UsageError(
            f"load.shares: must name every family of the rollout once; {wrong[0]!r} is missing in "
            "one of them."
        )
    whole = sum(shares.values())
    found = []
    for family in families:
        if family.ttl < _LEAST_TTL:
            raise click.UsageError(
                f"--ttl: family {family.name} lives {family.ttl:g} s; a plan needs at least "
                f"{_LEAST_TTL:g}s."
            )
        share = shares[family.name] / whole
        lookups = load.lookups_per_second * share
        keys = load.keys or _keys(load, family.name, lookups, family.ttl)
        found.append(
            Population(
                family.name,
                zipf(keys, load.skew),
                lookups,
                family.ttl,
                writes=load.writes_per_second * share,
                load_seconds=load.load_time,
                key_bytes=load.key_bytes,
            )
        )
    return tuple(found)


def _keys(load: Load, name: str, lookups: float, ttl: float) -> int:
    try:
        return fitting(
            load.hit_rate or 0.0,
            skew=load.skew,
            per_second=lookups,
            ttl=ttl,
            writes=load.writes_per_second * lookups / load.lookups_per_second,
        )
    except ValueError as error:
        raise click.UsageError(
            f"--hit-rate: family {name}: {error}. Correct it, or --ttl, --lookups or --skew."
        ) from error


def _of(value: int | str, whole: int, rounded: Any) -> int:
    if isinstance(value, int):
        return value
    return int(rounded(int(value[:-1]) * whole / 100))


def _validated(model: Any, given: Raw, root: str) -> Any:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join((root, *(str(part) for part in first["loc"])))
        text = str(first["msg"]).removeprefix("Value error, ")
        raise click.UsageError(f"{path}: {text}.") from error
