"""Looks at everything that the checklist before a release speaks of, through the operator's eyes.

Reads only, with the operator's own adapters. What cannot be seen from here is said, never guessed:
inside the cluster that is a finding, from a laptop it is not.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from cacherollout.adapters.cache.backends import Backend, Backends, spec_of
from cacherollout.adapters.cache.families import engine_families, refuse_foreign_versions_key
from cacherollout.adapters.cache.problems import ProblemError, problem_of
from cacherollout.adapters.cache.publishing import trouble_with
from cacherollout.adapters.cache.replaying import replay_session
from cacherollout.adapters.cache.sweeping import count_namespaces, example_of
from cacherollout.adapters.cache.workplaces import Workplace
from cacherollout.adapters.kube import Client, KubeObjects, KubeWorkloads
from cacherollout.adapters.metrics import PodMetrics
from cacherollout.api.ledger import load_ledger
from cacherollout.api.names import Key
from cacherollout.api.reasons import ConditionType, Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.cache import (
    CacheError,
    FamilyVerdict,
    NamespaceSurvey,
    UnreachableError,
    Verify,
    missing_rights,
)
from cacherollout.core.checklist import Checklist, check, refuse
from cacherollout.core.facts import Measurement, Observed
from cacherollout.core.readiness import CacheStock, FamilyStock, Seen, Unseen
from cacherollout.ports.errors import DependencyError, SpecError
from cacherollout.ports.objects import Objects
from cacherollout.ports.workloads import RolloutObject
from cacherollout.shell.clock import wall_clock
from cacherollout.shell.specs import parse

WINDOW_SECONDS: Final = 5.0
"""Time between the two measurements that rates are made of."""
CACHE_SECONDS: Final = 60.0
"""Longest time for counting and sampling the cache."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What every look needs."""

    key: Key
    spec: CacheRolloutSpec
    objects: Objects
    is_inside: bool
    """In the cluster, with the operator's network and rights."""


async def inspect(client: Client, key: Key, *, is_inside: bool) -> Checklist | None:
    """The checklist of one CacheRollout; None where there is none of that name.

    Raises the errors of ports.errors where the API server denies or fails.
    """
    try:
        seen = await look(client, key, is_inside=is_inside)
    except SpecError as error:
        return refuse(str(error))
    return check(seen) if seen else None


async def look(client: Client, key: Key, *, is_inside: bool) -> Seen | None:
    """Everything that can be seen of one CacheRollout; None where there is none of that name.

    Raises SpecError where its spec is wrong, and as `inspect` does.
    """
    workloads = KubeWorkloads(client, wall_clock)
    rollout = await workloads.read(key)
    if rollout is None:
        return None
    spec = parse(rollout.spec)
    observed = await workloads.observe(rollout, spec)
    place = _Place(key, spec, KubeObjects(client), is_inside)
    ledger = load_ledger(rollout.status.get("ledger"))
    target = observed.target
    running = target.running_version if target else None
    version = ledger.stable.version if ledger.stable else running or spec.cache.initial_version
    prefixes, cache, measurements = await asyncio.gather(
        _prefixes(place), _cache(place, version), _measurements(place, observed)
    )
    return Seen(
        spec=spec,
        ledger=ledger,
        is_acted_upon=rollout.status.get("observedGeneration", 0) >= rollout.generation,
        stall=_stall(rollout),
        observed=observed,
        prefixes=prefixes,
        cache=cache,
        measurements=measurements,
    )


def _stall(rollout: RolloutObject) -> str:
    """What only a person can mend, as the operator says it; empty where there is nothing."""
    for each in rollout.status.get("conditions", []):
        if each["type"] == ConditionType.STALLED and each["status"] == "True":
            return str(each.get("message") or each["reason"])
    return ""


async def _prefixes(place: _Place) -> tuple[str, ...] | Unseen:
    """The backend's key prefixes, once every key template lies under one of them."""
    key = Key(place.key.namespace, place.spec.cache.backend_ref.name)
    try:
        found = await place.objects.get_backend(*key)
        if found is None:
            return Unseen(
                f"CacheBackend {key.name} does not exist; create it, or correct "
                "cache.backendRef.name",
                is_failure=True,
            )
        prefixes = tuple(spec_of(key, found).key_prefixes)
        engine_families(place.spec, prefixes)
        refuse_foreign_versions_key(place.spec, prefixes)
    except DependencyError as error:
        return Unseen(str(error), is_failure=place.is_inside)
    except ProblemError as error:
        return Unseen(error.problem.message, is_failure=True)
    return prefixes


async def _cache(place: _Place, version: str) -> CacheStock | Unseen:
    """What the cache holds of a version, as far as it can be reached from here."""
    backends = Backends(place.objects)
    try:
        async with asyncio.timeout(CACHE_SECONDS):
            key = Key(place.key.namespace, place.spec.cache.backend_ref.name)
            backend = await backends.resolve(key)
            memory = (await backends.check(backend)).memory
            families, missing = await _stock(place, backend, version)
            at = place.spec.cache.versions_key
            trouble = await trouble_with(backend.server, at) if at and not missing else ""
    except ProblemError as error:
        is_ours = error.problem.reason in (Reason.FORBIDDEN, Reason.API_UNAVAILABLE)
        return Unseen(error.problem.message, is_failure=place.is_inside or not is_ours)
    except CacheError as error:
        if isinstance(error, UnreachableError) and not place.is_inside:
            return Unseen(f"the cache does not answer from here ({error})")
        return Unseen(problem_of(error).message, is_failure=True)
    except TimeoutError:
        return Unseen(f"the cache took longer than {CACHE_SECONDS:g} s; try again when it is calm")
    ceiling = backend.spec.limits.memory_ceiling_percent
    return CacheStock(
        families=families,
        used_bytes=memory.used_bytes,
        limit_bytes=memory.limit_bytes,
        headroom_bytes=memory.headroom_bytes(ceiling),
        policy=memory.policy,
        versions_key_trouble=trouble,
        missing_rights=missing,
    )


async def _stock(
    place: _Place, backend: Backend, version: str
) -> tuple[tuple[FamilyStock, ...], tuple[str, ...]]:
    """Every family under a version; nothing but the missing rights where there are some."""
    async with replay_session() as http:
        work = Workplace(backend, place.spec, http, wall_clock)
        missing = await missing_rights(backend.server, work.families(), version=version)
        if missing:
            return (), missing
        counted = await count_namespaces(work, (version,))
        filled = {each.family for each in counted if each.keys}
        verdicts: dict[str, FamilyVerdict] = {}
        if filled:
            # A family without a key would make the sampling walk over the whole keyspace.
            families = [each for each in work.families() if each.name in filled]
            sample = place.spec.gates.integrity.sample
            report = await Verify(
                work.server(), families, version=version, sample=sample, limits=work.limits
            ).run()
            verdicts = {each.family: each for each in report.families}
    return tuple(_family(each, verdicts.get(each.family)) for each in counted), ()


def _family(counted: NamespaceSurvey, verdict: FamilyVerdict | None) -> FamilyStock:
    return FamilyStock(
        counted.family,
        keys=counted.keys,
        bytes=counted.bytes,
        keys_without_ttl=counted.keys_without_ttl,
        longest_ttl_seconds=counted.longest_ttl_seconds,
        sampled=verdict.sampled if verdict else 0,
        corrupt=verdict.corrupt if verdict else 0,
        example=example_of(verdict) if verdict else "",
    )


async def _measurements(
    place: _Place, observed: Observed
) -> tuple[Measurement, Measurement] | Unseen:
    """Two measurements of the target's pods, `WINDOW_SECONDS` apart."""
    pods = observed.target_pods()
    if not pods:
        return Unseen("the target has no pods to ask")
    own = place.spec.metrics.model_copy(update={"interval": WINDOW_SECONDS})
    spec = place.spec.model_copy(update={"metrics": own})
    metrics = PodMetrics(wall_clock)
    try:
        first = await metrics.measure(place.key, spec, pods)
        if first is None or not first.pods:
            return _silent(first, is_inside=place.is_inside)
        await asyncio.sleep(WINDOW_SECONDS)
        second = await metrics.measure(place.key, spec, pods)
    finally:
        await metrics.close()
    if second is None or not second.pods:
        return _silent(second, is_inside=place.is_inside)
    return first, second


def _silent(measured: Measurement | None, *, is_inside: bool) -> Unseen:
    if measured is None or measured.problem is None:
        return Unseen("no pod of the target has running containers to ask", is_failure=True)
    return Unseen(measured.problem.message, is_failure=is_inside)
