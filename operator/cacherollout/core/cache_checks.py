"""Checks of the cache: access, keys under the stable version, their values, TTLs and memory."""

from typing import Final

from cacherollout.api.rollout import CacheRolloutSpec, Writes
from cacherollout.core.judging import CORRUPT_TARGET
from cacherollout.core.readiness import (
    CacheStock,
    FamilyStock,
    Item,
    Outcome,
    Seen,
    Unseen,
    Upcoming,
    listed,
    not_checked,
    unseen,
)

LONGER: Final = 1.6
SHORTER: Final = 0.5
"""A longest TTL outside these multiples of the declared one is more than scatter (±50 % is usual)."""
MIN_KEYS: Final = 50
"""Keys whose longest remaining TTL comes near the full one."""
NEARLY: Final = 0.8
"""Part of the headroom from which on it is called scarce."""
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def access(seen: Seen) -> Item:
    """The cache answers, and its user may do what the rollout needs."""
    if isinstance(seen.cache, Unseen):
        return unseen("access", seen.cache)
    if seen.cache.missing_rights:
        return Item(
            "access",
            Outcome.FAILED,
            f"the user of the cache lacks {listed(seen.cache.missing_rights)}; grant what "
            "docs/how-to/prepare-redis.md lists",
        )
    return Item("access", Outcome.OK, "the cache answers, and its user has every right it needs")


def versions_key(seen: Seen) -> Item:
    """A write through one version can reach what only the other has cached."""
    cache = seen.spec.cache
    if cache.versions_key is None:
        names = [each.name for each in cache.families if each.writes is Writes.INVALIDATE]
        if not names:
            return Item("versionsKey", Outcome.OK, "no family is deleted on write")
        return Item(
            "versionsKey",
            Outcome.WARNING,
            f"{listed(names)}: a delete under one version reaches no value that only the other has "
            "cached; set cache.versionsKey and let the application delete under every version that "
            "it names",
        )
    if isinstance(seen.cache, Unseen) or seen.cache.missing_rights:
        return not_checked("versionsKey", "the cache could not be looked at; see access")
    if seen.cache.versions_key_trouble:
        return Item("versionsKey", Outcome.FAILED, seen.cache.versions_key_trouble)
    return Item("versionsKey", Outcome.OK, f"{cache.versions_key} can be written")


def keys(spec: CacheRolloutSpec, stock: CacheStock, coming: Upcoming) -> Item:
    """Every family has keys under the stable version."""
    empty = [each.family for each in stock.families if not each.keys]
    templates = {family.name: family.key for family in spec.cache.families}
    if not empty:
        total = sum(each.keys for each in stock.families)
        return Item("keys", Outcome.OK, f"{total:,} keys of {coming.stable}, in every family")
    example = templates[empty[0]].replace("{version}", coming.stable)
    if len(empty) == len(stock.families):
        return Item(
            "keys",
            Outcome.FAILED,
            f"no family has a key of {coming.stable}, such as {example}: correct the templates in "
            "cache.families, or cache.initialVersion",
        )
    return Item(
        "keys",
        Outcome.WARNING,
        f"{listed(empty)} has no key of {coming.stable}, such as {example}: is the template right, "
        "or did nobody ask for one?",
    )


def values(stock: CacheStock, coming: Upcoming) -> Item:
    """Stored values decode and carry the required fields.

    Of a family whose declared schema changed nothing is expected: its values are not copied.
    """
    judged = [each for each in stock.families if each.family not in coming.changed]
    sampled = sum(each.sampled for each in judged)
    note = f" ({listed(coming.changed)}: new schema, not judged)" if coming.changed else ""
    if not sampled:
        return not_checked("values", f"there are no values of {coming.stable} to look into{note}")
    bad = [each for each in judged if each.corrupt]
    if not bad:
        return Item(
            "values",
            Outcome.OK,
            f"{sampled:,} of {sampled:,} sampled values decode and carry their fields{note}",
        )
    worst = max(bad, key=_corrupt_share)
    text = (
        f"{worst.corrupt:,} of {worst.sampled:,} sampled values of {worst.family} are unusable "
        f"({worst.example}); correct the field list or the codec, or let the application remove "
        f"them{note}"
    )
    is_bad = _corrupt_share(worst) > CORRUPT_TARGET
    return Item("values", Outcome.FAILED if is_bad else Outcome.WARNING, text)


def ttl(spec: CacheRolloutSpec, stock: CacheStock, coming: Upcoming) -> Item:
    """Keys expire, and about when the spec says."""
    total = sum(each.keys for each in stock.families)
    if not total:
        return not_checked("ttl", f"there are no keys of {coming.stable}")
    declared = {family.name: family.ttl for family in spec.cache.families}
    odd = [text for each in stock.families if (text := _odd_ttl(each, declared[each.family]))]
    if odd:
        more = f" ({len(odd) - 1} more families)" if len(odd) > 1 else ""
        return Item("ttl", Outcome.WARNING, odd[0] + more)
    return Item("ttl", Outcome.OK, f"all {total:,} keys expire, within the declared times")


def _odd_ttl(stock: FamilyStock, declared: float) -> str:
    """What is wrong with a family's TTLs; empty where nothing is."""
    if stock.keys_without_ttl:
        share = 100 * stock.keys_without_ttl / stock.keys
        return (
            f"{share:.3g} % of the keys of {stock.family} never expire: let the application set a "
            "TTL, or they stay until they are retired"
        )
    longest = stock.longest_ttl_seconds
    if longest is None:
        return ""
    found = f"{stock.family} declares ttl: {declared:g}s, but its longest is {longest:.0f} s"
    if longest > LONGER * declared:
        return f"{found}: declare the application's own, or a repair trusts values for too long"
    if longest < SHORTER * declared and stock.keys >= MIN_KEYS:
        return (
            f"{found}: declare the application's own, or the old version grows cold in the window"
        )
    return ""


def memory(spec: CacheRolloutSpec, stock: CacheStock, coming: Upcoming) -> Item:
    """A second copy of what will be filled fits below the ceiling."""
    filled = (*coming.plan.copied, *coming.plan.replayed)
    needed = sum(each.bytes for each in stock.families if each.family in filled)
    if stock.limit_bytes is None or stock.headroom_bytes is None:
        return Item(
            "memory",
            Outcome.WARNING,
            f"the server has no maxmemory, so its headroom is unknown: set one; {amount(needed)} "
            "more are needed",
        )
    room = max(0, stock.headroom_bytes)
    text = (
        f"{amount(needed)} more are needed and {amount(room)} are left below the ceiling; policy "
        f"{stock.policy}"
    )
    share = (stock.used_bytes + needed) / stock.limit_bytes
    alert = spec.gates.redis_memory.alert
    if needed > room:
        return Item("memory", Outcome.FAILED, f"{text}: make room or raise maxmemory")
    if share >= alert:
        return Item(
            "memory",
            Outcome.FAILED,
            f"{text}; together {share * 100:.0f} % of maxmemory, at {alert * 100:g} % the gate "
            "redisMemory holds: make room or raise maxmemory",
        )
    if needed > NEARLY * room:
        return Item("memory", Outcome.WARNING, f"{text}: make room before it is scarce")
    return Item("memory", Outcome.OK, text)


def amount(size: float) -> str:
    """Bytes in a unit that people read."""
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


def _corrupt_share(stock: FamilyStock) -> float:
    return stock.corrupt / stock.sampled
