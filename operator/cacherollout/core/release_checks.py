"""Checks of the Kubernetes side: who acts, what is held, which version the next release gets."""

from typing import Final

from cacherollout.api.rollout import AUTO
from cacherollout.core.ramp import first_step, most
from cacherollout.core.readiness import (
    Item,
    Outcome,
    Seen,
    Unseen,
    Upcoming,
    listed,
    not_checked,
    unseen,
)
from cacherollout.core.versions import is_usable, stated_version

LARGE_SHARE: Final = 0.25
"""Share of the users that one first step should not exceed."""


def operator(seen: Seen) -> Item:
    """Somebody acts on the newest spec, and can."""
    if not seen.is_acted_upon:
        return _failed(
            "operator",
            "the operator has not acted on the newest spec: check that it runs and serves this "
            "namespace (helm value watchNamespaces, or clusterWide)",
        )
    if seen.stall:
        return _failed("operator", f"it is stalled: {seen.stall}")
    if seen.ledger.is_paused:
        return _warning("operator", "it is paused by request; resume it, or no release begins")
    return _ok("operator", "it has acted on the newest spec, and nothing stalls it")


def target(seen: Seen) -> Item:
    """The target is there and runs one complete release."""
    name, facts = seen.spec.target_ref.name, seen.observed.target
    if facts is None:
        return _failed(
            "target", f"there is no Deployment {name}; create it, or correct spec.targetRef.name"
        )
    if facts.replicas == 0:
        return _failed("target", f"Deployment {name} has no replicas: there is nothing to protect")
    if facts.ready < facts.replicas:
        return _failed(
            "target",
            f"{facts.ready} of {facts.replicas} pods of Deployment {name} are ready; mend that "
            "before a release is compared with them",
        )
    return _ok("target", f"{facts.ready} of {facts.replicas} pods of Deployment {name} are ready")


def hold(seen: Seen) -> Item:
    """The target is under this rollout's hold, and nothing is under way."""
    facts, ledger, problem = seen.observed.target, seen.ledger, seen.observed.problem
    if problem is not None:
        return _failed("hold", problem.message)
    if facts is None:
        return not_checked("hold", "there is no target to hold")
    if ledger.stable is None:
        return _failed("hold", "the target is not adopted yet: no change of it would be gated")
    if ledger.target_uid != facts.uid:
        return _failed(
            "hold", "the target was deleted and created again; adopt it with the request `retry`"
        )
    if ledger.attempt is not None:
        release = ledger.attempt.release.version
        return _warning(
            "hold",
            f"attempt {ledger.attempt.number} ({release}) is under way: another release would "
            "supersede it; wait for its end",
        )
    if not facts.is_paused:
        return _failed(
            "hold",
            "the target is not paused, so a change of its template reaches everybody at once; "
            "see the message of `status`, and who sets spec.paused",
        )
    rejected = ledger.rejected
    if rejected is not None and rejected.revision == facts.revision:
        return _warning(
            "hold",
            f"held, and its template is still the one that was rolled back ({rejected.version}); "
            "the next change of it, or the request `retry`, is tried",
        )
    return _ok("hold", f"held by this CacheRollout; {ledger.stable.version} is stable")


def version(seen: Seen, coming: Upcoming) -> Item:
    """The next release gets keys of its own where the schema changed."""
    spec, facts = seen.spec, seen.observed.target
    stated = stated_version(spec, facts) if facts else None
    if stated is not None and not is_usable(stated):
        return _failed("version", f"{stated[:40]!r} cannot be part of a key; write one such as v3")
    if coming.is_sharing and coming.changed:
        return _unraised(seen, coming)
    if coming.is_sharing:
        return _ok(
            "version", f"no declared schema changed; the next release shares {coming.stable}"
        )
    if coming.version in seen.ledger.retiring:
        return _warning(
            "version",
            f"{coming.version} is being retired; the release waits until its keys are gone",
        )
    what = (
        f"the schema of {listed(coming.changed)} changed" if coming.changed else "no schema changed"
    )
    return _ok(
        "version", f"{what}; the next release gets {coming.version} instead of {coming.stable}"
    )


def _unraised(seen: Seen, coming: Upcoming) -> Item:
    """The schema changed, and whoever states the version did not raise it."""
    facts, stable = seen.observed.target, seen.ledger.stable
    what = f"the schema of {listed(coming.changed)} changed"
    danger = "or both releases read each other's values"
    if facts is None or facts.stated_version is None:
        return _failed(
            "version",
            f"{what}, but spec.cache.version still says {coming.stable}: raise it, or set it to "
            f"{AUTO}, {danger}",
        )
    where = f"{seen.spec.cache.env} in the target's template"
    if stable is not None and facts.revision == stable.revision:
        return _warning(
            "version",
            f"{what}, and {where} decides: raise it from {coming.stable} with the release, {danger}",
        )
    return _failed("version", f"{what}, but {where} still says {coming.stable}: raise it, {danger}")


def canary(seen: Seen) -> Item:
    """How many users the first step concerns, and whether the canary's name is free."""
    facts, present = seen.observed.target, seen.observed.canary
    if present is not None and not present.is_ours:
        return _failed(
            "canary", "a Deployment of the canary's name exists and is not ours: rename it"
        )
    if facts is None or facts.replicas == 0:
        return not_checked("canary", "without pods of the target its share is unknown")
    first, last = first_step(seen.spec, facts.replicas), most(seen.spec, facts.replicas)
    share = first / (facts.replicas + first)
    text = (
        f"the first step admits {first} beside {facts.replicas} pods, {share:.0%} of the users; "
        f"before promotion at most {last}, {last / (facts.replicas + last):.0%}"
    ).replace("%", " %")
    if share > LARGE_SHARE:
        return _warning("canary", f"{text}. More, smaller pods make the first step smaller")
    return _ok("canary", text)


def key_prefixes(seen: Seen) -> Item:
    """Every key template lies where the backend lets the operator work."""
    if isinstance(seen.prefixes, Unseen):
        return unseen("keyPrefixes", seen.prefixes)
    count = len(seen.spec.cache.families)
    return _ok("keyPrefixes", f"all {count} key templates lie under {listed(seen.prefixes)}")


def _ok(name: str, message: str) -> Item:
    return Item(name, Outcome.OK, message)


def _warning(name: str, message: str) -> Item:
    return Item(name, Outcome.WARNING, message)


def _failed(name: str, message: str) -> Item:
    return Item(name, Outcome.FAILED, message)
