"""What is wrong with a cache, in the words of the contract: the engine's errors as Problems."""

from typing import Final

from cacherollout.api.reasons import Reason
from cacherollout.cache import (
    CacheError,
    ClusterDownError,
    CommandError,
    HeadroomError,
    OutOfMemoryError,
    ReadOnlyError,
    RefusedError,
    TemplateError,
    TopologyError,
)
from cacherollout.core.facts import Problem
from cacherollout.ports.errors import MAX_FOREIGN_TEXT

_KINDS: Final[tuple[tuple[type[CacheError], Reason, str], ...]] = (
    (
        RefusedError,
        Reason.CACHE_ACCESS_DENIED,
        "check the Secret in credentialsSecretRef, the server's ACL and its certificate",
    ),
    (
        HeadroomError,
        Reason.CACHE_FULL,
        "make room, raise maxmemory, or raise limits.memoryCeilingPercent of the CacheBackend",
    ),
    (
        OutOfMemoryError,
        Reason.CACHE_FULL,
        "make room, raise maxmemory, or choose a policy that evicts",
    ),
    (
        ReadOnlyError,
        Reason.CACHE_UNAVAILABLE,
        "the address leads to a replica: let redis.address of the CacheBackend name the primary",
    ),
    (
        ClusterDownError,
        Reason.CACHE_UNAVAILABLE,
        "start the nodes that are down, or let a replica take over (CLUSTER FAILOVER TAKEOVER)",
    ),
    (
        TopologyError,
        Reason.INVALID_SPEC,
        "let redis.mode of the CacheBackend say so: Cluster for a node of a cluster, else Standalone",
    ),
    (
        CommandError,
        Reason.CACHE_ACCESS_DENIED,
        "the operator needs the commands listed in the documentation, on Redis 7.0 or newer",
    ),
    (TemplateError, Reason.INVALID_SPEC, "correct cache.families"),
)


class ProblemError(Exception):
    """Something outside is not as it must be; ends as a fact, never as a failed pass."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def problem(reason: Reason, message: str) -> ProblemError:
    """A ProblemError of that reason."""
    return ProblemError(Problem(reason, message))


def problem_of(error: CacheError) -> Problem:
    """What an error of the engine means to people; carries no credential and no stored value."""
    text = str(error)[:MAX_FOREIGN_TEXT]
    for kind, reason, fix in _KINDS:
        if isinstance(error, kind):
            return Problem(reason, f"{text}; {fix}")
    return Problem(
        Reason.CACHE_UNAVAILABLE,
        f"{text}; check that the cache runs and that redis.address of the CacheBackend leads to it",
    )
