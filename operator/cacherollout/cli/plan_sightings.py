"""What a plan can know from a cluster: traffic, keys, memory, pods and limits as they are now.

Reads what `check` reads. What could not be seen is left to flags, and a note says why.
"""

from typing import Final

from cacherollout.adapters.cache.backends import spec_of
from cacherollout.adapters.cache.problems import ProblemError
from cacherollout.adapters.kube import Client, KubeObjects
from cacherollout.adapters.kube.resources import DEPLOYMENTS
from cacherollout.api.ledger import Attempt
from cacherollout.api.names import Key
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.api.scalars import format_duration
from cacherollout.cli.inspections import look
from cacherollout.cli.plan_inputs import Inputs, Raw, pods_of
from cacherollout.cli.rollouts import Where, fetch, is_inside, missing
from cacherollout.core.counting import MIN_BASELINE_TICKS, hit_rate, increases, rates, total
from cacherollout.core.facts import Measurement
from cacherollout.core.readiness import CacheStock, Seen, Unseen

_FAR: Final = 1.3
"""Two figures that should agree are called different beyond this ratio."""


async def sight(client: Client, where: Where, name: str) -> Inputs:
    """The inputs that a CacheRollout, its Deployment, cache and pods show.

    Raises the errors of ports.errors, and ClickException where there is no such CacheRollout.
    """
    inputs = Inputs(name=name)
    inputs.spec = dict((await fetch(client, where, name)).get("spec") or {})
    seen = await look(client, Key(where.namespace, name), is_inside=is_inside(where))
    if seen is None:
        raise missing(where, name)
    target = await client.get(DEPLOYMENTS, where.namespace, seen.spec.target_ref.name)
    if target is not None:
        inputs.load |= pods_of(target.get("spec") or {})
    key = Key(where.namespace, seen.spec.cache.backend_ref.name)
    backend = await KubeObjects(client).get_backend(*key)
    if backend is not None:
        try:
            inputs.limits = spec_of(key, backend).limits
        except ProblemError as error:
            inputs.notes.append(f"{error.problem.message}; its limits are taken to be the defaults")
    take(inputs, seen)
    return inputs


def take(inputs: Inputs, seen: Seen) -> None:
    """Add what was seen to the inputs. Pure but for them."""
    if seen.ledger.stable is not None:
        inputs.stable_version = seen.ledger.stable.version
        inputs.fingerprints = seen.ledger.stable.fingerprints
    traffic = _traffic(seen, inputs.notes)
    inputs.load |= traffic
    if isinstance(seen.cache, Unseen):
        inputs.notes.append(
            f"the cache could not be looked at ({seen.cache.why}): memory and the families' shares "
            "of the traffic are assumed"
        )
        return
    inputs.load |= _stock(seen.spec, seen.cache, inputs.notes)
    inputs.notes += _doubts(seen.spec, seen.cache, traffic)


def _traffic(seen: Seen, notes: list[str]) -> Raw:
    attempt = seen.ledger.attempt
    if attempt is not None and (attempt.baseline_ticks < MIN_BASELINE_TICKS):
        attempt = None
    if attempt is not None and attempt.traffic_since is not None:
        notes.append("a release is under way: traffic as before it, from its own record")
        return before_the_release(attempt)
    if isinstance(seen.measurements, Unseen):
        notes.append(f"the pods' counters could not be read: {seen.measurements.why}")
        return {}
    return between(*seen.measurements)


def before_the_release(attempt: Attempt) -> Raw:
    """Lookups of both sides, and the hit rate that the normal load of the origin means."""
    stable, canary = attempt.stable_traffic, attempt.canary_traffic
    lookups = stable.lookups + canary.lookups
    if lookups <= 0:
        return {}
    # Not every miss is a load, and a load may be several reads: as it is on the stable side.
    per_miss = stable.origin / stable.misses if stable.misses > 0 and stable.origin > 0 else 1.0
    misses = (attempt.baseline_origin or 0.0) / per_miss
    return {"lookupsPerSecond": lookups, "hitRate": min(1.0, max(0.0, 1 - misses / lookups))}


def between(before: Measurement, now: Measurement) -> Raw:
    """Lookups and hit rate between two measurements; nothing where no lookup was counted."""
    seen = increases(before, now)
    # Pods that were counted once only serve like the others.
    seconds = (now.at - before.at) * len(seen) / max(1, len(now.pods))
    if not seen or seconds <= 0:
        return {}
    traffic = rates(total(seen), seconds)
    share = hit_rate(traffic)
    return {} if share is None else {"lookupsPerSecond": traffic.lookups, "hitRate": share}


def _stock(spec: CacheRolloutSpec, stock: CacheStock, notes: list[str]) -> Raw:
    found: Raw = {"usedBytes": stock.used_bytes, "limitBytes": stock.limit_bytes}
    keys = sum(each.keys for each in stock.families)
    if keys > 0:
        found["keyBytes"] = sum(each.bytes for each in stock.families) / keys or None
    ttls = {family.name: family.ttl for family in spec.cache.families}
    # Every miss is a key for one TTL: so many misses each family has (Little's law).
    shares = {each.family: each.keys / ttls[each.family] for each in stock.families}
    if shares and all(share > 0 for share in shares.values()):
        found["shares"] = shares
    elif len(ttls) > 1:
        notes.append(
            "not every family has keys, so the traffic is divided equally: see load.shares"
        )
    return {name: value for name, value in found.items() if value is not None}


def _doubts(spec: CacheRolloutSpec, stock: CacheStock, traffic: Raw) -> list[str]:
    """What does not fit together, which a plan cannot repair."""
    notes = []
    for family in spec.cache.families:
        longest = next(
            (each.longest_ttl_seconds for each in stock.families if each.family == family.name),
            None,
        )
        if longest is not None and longest > family.ttl * _FAR:
            notes.append(
                f"family {family.name} declares a ttl of {format_duration(family.ttl)}, but keys "
                f"live up to {longest:.0f} s: correct it"
            )
    if not traffic or len(stock.families) == 0:
        return notes
    misses = traffic["lookupsPerSecond"] * (1 - traffic["hitRate"])
    keys = sum(each.keys for each in stock.families)
    ttl = sum(family.ttl for family in spec.cache.families) / len(spec.cache.families)
    expected = misses * ttl
    if keys > 0 and expected > _FAR * keys:
        notes.append(
            f"{misses:,.0f} misses/s and a TTL of {ttl:.0f} s mean {expected:,.0f} keys, but the "
            f"cache holds {keys:,}: many go before their TTL, by writes (--writes) or evictions, or "
            "what is missed is not stored"
        )
    return notes
