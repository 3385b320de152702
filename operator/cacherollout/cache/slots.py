"""Which of a cluster's slots a key lies in, and where the keys stand in a command.

Pure. The slot is CRC-16/XMODEM of the key, modulo 16384; of its hash tag alone where it has one
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
"""

import binascii
from collections.abc import Sequence
from typing import Final

from cacherollout.cache.connections import Command

SLOTS: Final = 16_384

_MAX_RUNS: Final = 4

_ALL: Final = slice(1, None)
_FIRST: Final = slice(1, 2)
_SECOND: Final = slice(2, 3)
_KEYS: Final[dict[object, slice]] = {
    b"COPY": slice(1, 3),
    b"DUMP": _FIRST,
    b"EXISTS": _ALL,
    b"GET": _FIRST,
    b"MEMORY": _SECOND,
    b"OBJECT": _SECOND,
    b"PEXPIRE": _FIRST,
    b"PEXPIRETIME": _FIRST,
    b"PTTL": _FIRST,
    b"RESTORE": _FIRST,
    b"SET": _FIRST,
    b"STRLEN": _FIRST,
    b"TYPE": _FIRST,
    b"UNLINK": _ALL,
}
_KEYLESS: Final = frozenset({b"DBSIZE", b"EXEC", b"INFO", b"MULTI", b"PING", b"SCAN"})


def slot_of(key: bytes) -> int:
    """The slot of `key`."""
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


def keys_of(command: Command) -> Sequence[bytes]:
    """The keys that `command` names; none for those that concern a server.

    Raises:
        ValueError: The command is not one of those that the engine sends to a cluster.

    """
    name = command[0]
    place = _KEYS.get(name)
    if place is not None:
        return command[place]  # type: ignore[return-value]  # the engine's keys are all bytes
    if name in _KEYLESS:
        return ()
    if name == b"EVALSHA":
        return command[3 : 3 + int(command[2])]  # type: ignore[return-value]
    raise ValueError(f"{command[0]!r}: not known to be safe in a cluster")


def spelled(slots: Sequence[int]) -> str:
    """Slots as people write them: ``0-5460, 5462``; the first few runs of them."""
    runs: list[list[int]] = []
    for slot in sorted(slots):
        if runs and slot == runs[-1][1] + 1:
            runs[-1][1] = slot
        else:
            runs.append([slot, slot])
    shown = [f"{low}-{high}" if high > low else f"{low}" for low, high in runs[:_MAX_RUNS]]
    return ", ".join(shown) + (", …" if len(runs) > _MAX_RUNS else "")
