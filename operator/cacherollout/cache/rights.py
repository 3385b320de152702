"""Which rights the present user lacks for what the engine does, found without touching any key.

Servers check rights before they look for a key, so every command is tried on one that cannot exist:
its id is random. Asking the server for its ACL would take a right that the user should not have.
"""

import secrets
from collections.abc import Collection, Sequence
from typing import Final

from cacherollout.cache.connections import Command
from cacherollout.cache.errors import CommandError, RefusedError, UnreachableError
from cacherollout.cache.keys import Family, key_of
from cacherollout.cache.servers import Channel, Server

_OF_SERVER: Final[tuple[Command, ...]] = (
    (b"INFO",),
    (b"DBSIZE",),
    (b"SCAN", b"0", b"COUNT", 1),
    (b"CLIENT", b"TRACKING", b"OFF"),
    (b"SCRIPT", b"LOAD", b"return 0"),
)
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
    Raises the errors of `Connection.connect`, and those of a server that is not well.
    """
    primaries = await server.primaries()
    if not primaries:
        raise UnreachableError("the cache has no primary")
    async with primaries[0].session(timeout_seconds) as channel:
        of_server = [each for each in _OF_SERVER if only is None or _name(each) in only]
        missing = [_name(each) for each in of_server if not await _may(channel, each)]
        by_prefix: dict[bytes, Family] = {}
        for family in families:
            by_prefix.setdefault(family.template.prefix, family)
        for prefix, family in by_prefix.items():
            key = key_of(family, version, secrets.token_hex(16).encode())
            commands = [each for each in _of_key(key) if only is None or _name(each) in only]
            refused = [_name(each) for each in commands if not await _may(channel, each)]
            place = f"{prefix.decode(errors='replace')}*"
            if refused and len(refused) == len(commands) > 1:
                missing.append(f"any access to {place}")
            else:
                missing += [f"{name} on {place}" for name in refused]
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


async def _may(channel: Channel, command: Command) -> bool:
    """Whether the server knows the command and lets this user run it."""
    try:
        (reply,) = await channel.pipeline([command])
    except RefusedError:
        return False
    except CommandError as error:
        reply = error
    return not (isinstance(reply, CommandError) and "unknown" in str(reply).lower())


def _name(command: Command) -> str:
    """The command as the documentation of Redis spells it."""
    has_subcommand = command[0] in {b"CLIENT", b"SCRIPT", b"MEMORY", b"OBJECT"}
    words = command[: 2 if has_subcommand else 1]
    return " ".join(word.decode() for word in words if isinstance(word, bytes))
