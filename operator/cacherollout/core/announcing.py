"""Telling applications which cache versions are in use, so that they delete under all of them.

Redis pushes no deletion of a key that is not cached, so no mirror can carry one over: a write
through the new version would leave the old version's value to its TTL. Only the application can
reach both, in one command, and `spec.cache.versionsKey` is where it learns of them; see
docs/adr/0009-versions-in-use.md.

The order is the safety. The key names a version before its first value is stored, and until its
last pod and its last key are gone. That there is something to take back is remembered before it is
published; that it is still published is looked at on every pass.
"""

from dataclasses import replace
from typing import Final

from cacherollout.api.ledger import Ledger
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.core.actions import PublishWork, RunWorks, Work
from cacherollout.core.facts import WorkFacts
from cacherollout.core.passes import Pass

HEARD_SECONDS: Final = 5.0
"""Time after which every pod goes by what was published: more than twice the 2 s for which the
contract lets applications go by their last look, so that a slow one still gets there."""


def in_use(ledger: Ledger) -> tuple[str, ...]:
    """Versions that have, or may have, pods or keys: the serving one first; none unless adopted."""
    if ledger.stable is None:
        return ()
    trial = (ledger.attempt.release.version,) if ledger.attempt else ()
    return tuple(dict.fromkeys((ledger.stable.version, *trial, *ledger.retiring)))


def run_works(here: Pass, *works: Work) -> RunWorks:
    """These works, with the publication in front of them where one is due."""
    return RunWorks((*_publication(here), *works))


def is_heard(here: Pass) -> bool:
    """Whether every pod goes by the versions in use; so it is where none are published at all.

    A restarted operator does not know since when they are there, and waits once more.
    """
    due = _publication(here)
    since = _published_since(here)
    return not due or (since is not None and here.now - since >= HEARD_SECONDS)


def noted(spec: CacheRolloutSpec, ledger: Ledger) -> Ledger:
    """The ledger that remembers, before it happens, that more than one version is published."""
    is_due = spec.cache.versions_key is not None and len(in_use(ledger)) > 1
    return replace(ledger, is_announcing=True) if is_due else ledger


def concluded(here: Pass) -> Pass:
    """The pass in which nothing is left to be taken back, once the serving version stands alone."""
    if not here.ledger.is_announcing or len(in_use(here.ledger)) > 1:
        return here
    if _publication(here) and _published_since(here) is None:
        return here
    return here.with_ledger(is_announcing=False)


def trouble(here: Pass) -> str:
    """What keeps the versions from being published, as one clause; empty where nothing does."""
    facts = _facts(here)
    return facts.problem.message.rstrip(".") if facts and facts.problem else ""


def _publication(here: Pass) -> tuple[PublishWork, ...]:
    key, versions = here.spec.cache.versions_key, in_use(here.ledger)
    if key is None or not (len(versions) > 1 or (versions and here.ledger.is_announcing)):
        return ()
    return (PublishWork(key, versions),)


def _published_since(here: Pass) -> float | None:
    facts = _facts(here)
    return facts.since if facts else None


def _facts(here: Pass) -> WorkFacts | None:
    due = _publication(here)
    return here.observed.cache.work(due[0].key) if due else None
