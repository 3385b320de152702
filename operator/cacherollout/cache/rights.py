"""Which rights the present user lacks for what the engine does, found without touching any key.

Servers check rights before they look for a key, so every command is tried on one that cannot exist:
its id is random. Asking the server for its ACL would take a right that the user should not have.
"""

import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from cacherollout.cache.clusters import ClusterPrimary
from cacherollout.cache.connections import Command
from cacherollout.cache.errors import CommandError, RefusedError, TopologyError, UnreachableError
from cacherollout.cache.keys import Family, key_of
from cacherollout.cache.servers import Channel, Server

_OF_SERVER: Final[tuple[Command, ...]] = (
    (b"INFO",),
    (b"DBSIZE",),
    (b"SCAN", b"0", b"COUNT", 1),
    (b"CLIENT", b"TRACKING", b"OFF"),
    (b"SCRIPT", b"LOAD", b"return 0"),
)
_OF_NODE: Final[tuple[Command, ...]] = ((b"CLUSTER", b"NODES"), (b"ASKING",))
_NO_SCRIPT: Final = b"0" * 40


def _of_key(key: bytes) -> tuple[Command, ...]:
    return (
        (b"EXISTS", key),
        (b"GET", key),
        (b"STRLEN", key),
        (b"PTTL", key),
        (b"PEXPIRE", key, 1),
        (b"DUMP", key),
        (b"TYPE", key),
        (b"MEMORY", b"USAGE", key),
        (b"OBJECT", b"IDLETIME", key),
        (b"COPY", key, key + b"-copy"),
        (b"UNLINK", key),
        (b"EVALSHA", _NO_SCRIPT, 1, key),
    )


def _of_key_in_cluster(key: bytes) -> tuple[Command, ...]:
    return ((b"PEXPIRETIME", key), (b"RESTORE", key, 0, b"no value"))


async def missing_rights(
    server: Server,
    families: Sequence[Family],
    *,
    version: str,
    only: Collection[str] | None = None,
    timeout_seconds: float = 2.0,
) -> tuple[str, ...]:
    """What the user may not do, as people read it; empty where nothing is missing.

    `only` names the commands of interest, such as ``{"SCAN", "MEMORY USAGE"}``; None for all that
    the engine may send.
    On a cluster every primary is asked, and what copies across primaries need is asked about too.
    Raises the errors of `Connection.connect`, and those of a server that is not well.
    """
    primaries = await server.primaries()
    if not primaries:
        raise UnreachableError("the cache has no primary")
    missing: dict[str, None] = {}
    for primary in primaries:  # each node of a cluster has users of its own
        is_clustered = isinstance(primary, ClusterPrimary)
        async with primary.session(timeout_seconds) as channel:
            wanted = _Wanted(channel.peers()[0], only, is_clustered=is_clustered)
            missing |= dict.fromkeys([found async for found in _missing(wanted, families, version)])
    return tuple(missing)


async def missing_rights_to_name(
    server: Server, key: str, *, timeout_seconds: float = 2.0
) -> tuple[str, ...]:
    """Which of GET and SET the user may not do to this very key. Errors as in `missing_rights`.

    The SET contradicts itself (only if absent, and only if there), so it is never carried out.
    """
    name = key.encode()
    commands: tuple[Command, ...] = ((b"GET", name), (b"SET", name, b"", b"NX", b"XX"))
    primaries = await server.primaries()
    if not primaries:
        raise UnreachableError("the cache has no primary")
    async with primaries[0].session(timeout_seconds) as channel:
        return tuple([_name(each) for each in commands if not await _may(channel, each)])


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which commands are of interest, and the one server to try them on."""

    channel: Channel
    only: Collection[str] | None
    is_clustered: bool

    def of(self, commands: Sequence[Command], in_cluster: Sequence[Command]) -> list[Command]:
        every = [*commands, *(in_cluster if self.is_clustered else ())]
        return [each for each in every if self.only is None or _name(each) in self.only]


async def _missing(wanted: _Wanted, families: Sequence[Family], version: str) -> AsyncIterator[str]:
    channel = wanted.channel
    for each in wanted.of(_OF_SERVER, _OF_NODE):
        if not await _may(channel, each):
            yield _name(each)
    by_prefix: dict[bytes, Family] = {}
    for family in families:
        by_prefix.setdefault(family.template.prefix, family)
    for prefix, family in by_prefix.items():
        key = key_of(family, version, secrets.token_hex(16).encode())
        commands = wanted.of(_of_key(key), _of_key_in_cluster(key))
        refused = [_name(each) for each in commands if not await _may(channel, each)]
        place = f"{prefix.decode(errors='replace')}*"
        if refused and len(refused) == len(commands) > 1:
            yield f"any access to {place}"
        else:
            for name in refused:
                yield f"{name} on {place}"


async def _may(channel: Channel, command: Command) -> bool:
    """Whether the server knows the command and lets this user run it."""
    try:
        (reply,) = await channel.pipeline([command])
    except RefusedError:
        return False
    except TopologyError:
        return True  # rights are checked before slots
    except CommandError as error:
        reply = error
    return not (isinstance(reply, CommandError) and "unknown" in str(reply).lower())


def _name(command: Command) -> str:
    """The command as the documentation of Redis spells it."""
    has_subcommand = command[0] in {b"CLIENT", b"CLUSTER", b"SCRIPT", b"MEMORY", b"OBJECT"}
    words = command[: 2 if has_subcommand else 1]
    return " ".join(word.decode() for word in words if isinstance(word, bytes))
