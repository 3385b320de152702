"""Why a cache command did not do what was asked: what happened, why, and what to do, for people."""

from typing import Final

import click

from cacherollout.cache import (
    CacheError,
    Cluster,
    ClusterDownError,
    CommandError,
    HeadroomError,
    NotReadyError,
    OutOfMemoryError,
    ReadOnlyError,
    RefusedError,
    TemplateError,
    TopologyError,
    UnreachableError,
)
from cacherollout.cli.cache_options import PASSWORD_VARIABLE, Target


class Refusal(click.ClickException):
    """The state of the cache stands against what was asked."""

    exit_code = 1


class Unusable(Refusal):
    """Wrong options, or no way to the server."""

    exit_code = 2


_ADVICE: Final[tuple[tuple[type[CacheError], type[Refusal], str], ...]] = (
    (
        HeadroomError,
        Refusal,
        (
            "Retire a version that is over, raise maxmemory, or raise --memory-ceiling; nothing more was "
            "written, and the same command goes on where it stopped."
        ),
    ),
    (
        OutOfMemoryError,
        Refusal,
        (
            "The server is full and may not evict. Make room or raise maxmemory; what is done stays, and "
            "the same command goes on from there."
        ),
    ),
    (
        ReadOnlyError,
        Refusal,
        (
            "This server is a replica, which takes no writes: name the primary in --redis, or give "
            "--sentinel."
        ),
    ),
    (
        ClusterDownError,
        Refusal,
        (
            "Start the nodes that are down, or let a replica take over (CLUSTER FAILOVER TAKEOVER), then "
            "run the same command again."
        ),
    ),
    (
        NotReadyError,
        Refusal,
        "The server asks for patience. Wait until it is ready, then run the same command again.",
    ),
    (TemplateError, Unusable, ""),
    (
        UnreachableError,
        Unusable,
        (
            "Check that the server runs and that --redis names it (rediss:// if it wants TLS), then run the "
            "same command again."
        ),
    ),
    (
        CommandError,
        Refusal,
        "The server must be Redis 6.2 or newer; 7.0 for keep, and for a cluster.",
    ),
)


def refusal(error: CacheError, target: Target, missing: tuple[str, ...] = ()) -> Refusal:
    """What an error of the engine means; `missing` are the rights that the user was found to lack."""
    if isinstance(error, RefusedError):
        return Unusable(_denied(str(error), target, missing))
    if isinstance(error, CommandError) and "DB index" in str(error):
        said = f"{target.address}: the server has no such database."
        return Unusable(f"{said} Correct the number at the end of --redis.")
    if isinstance(error, TopologyError):
        is_cluster = isinstance(target.server, Cluster)
        advice = "Leave --cluster out." if is_cluster else "Add --cluster, to find the others."
        return Unusable(f"{_sentence(str(error))} {advice}")
    for kind, made, advice in _ADVICE:
        if isinstance(error, kind):
            return made(f"{_sentence(str(error))} {advice}".strip())
    return Refusal(_sentence(str(error)))


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _denied(said: str, target: Target, missing: tuple[str, ...]) -> str:
    if "NOPERM" in said:
        lacks = ", ".join(missing) or said.partition("NOPERM ")[2]
        return (
            f"{target.address}: the user {target.username!r} lacks a right: {lacks}. Let an admin add "
            "it (ACL SETUSER), or name another user in --redis; docs/how-to/prepare-redis.md has a "
            "rule that suffices."
        )
    if "WRONGPASS" in said:
        return (
            f"{target.address}: the server does not accept the password of {target.username!r}, or "
            f"there is no such user. Check ${PASSWORD_VARIABLE} or --password-file, and the user in "
            "--redis."
        )
    if "NOAUTH" in said:
        return (
            f"{target.address}: the server wants a password. Set ${PASSWORD_VARIABLE}, or give "
            "--password-file or --ask-password."
        )
    return f"{_sentence(said)} Check the credentials, and the authority in --ca-file."


def replica(target: Target) -> Refusal:
    """For a server that says by itself that it takes no writes."""
    return Refusal(
        f"{target.address} is a replica, which takes no writes: nothing was written. Name the primary "
        "in --redis, or give --sentinel."
    )
