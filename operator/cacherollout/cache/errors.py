"""What can go wrong between the engine and a Redis server, as types.

Callers decide by type alone: wait (`UnreachableError`, `NotReadyError`, `ReadOnlyError`), ask for
other credentials (`RefusedError`), make room (`OutOfMemoryError`, `HeadroomError`), or fix what was
declared (`TemplateError`). No message carries a credential or a stored value: of a server's own
words only its error code and a bounded, argument-free rest are repeated.
"""

from typing import Final

_MAX_TEXT: Final = 256


class CacheError(Exception):
    """Anything the engine raises on purpose."""


class TemplateError(CacheError):
    """A key template, version or family declaration is not usable; the message says how to fix it."""


class HeadroomError(CacheError):
    """The server lacks the memory for what was asked; nothing (more) was written."""


class UnreachableError(CacheError):
    """No answer: refused, reset, closed, not resolvable, or a TLS handshake that failed."""


class UnansweredError(UnreachableError):
    """The server accepted a request and did not answer within the timeout."""


class ServerError(CacheError):
    """The server answered with an error."""


class CommandError(ServerError):
    """The server refused one command for a reason that waiting will not cure."""


class WrongTypeError(CommandError):
    """A key holds another type than the command expects; returned in place of its reply."""


class ScriptLostError(CommandError):
    """The server forgot a script (SCRIPT FLUSH); it is loaded again with the next connection."""


class AbortedError(CommandError):
    """A transaction was not run: one of its commands was refused. In place of a reply."""


class TakenError(CommandError):
    """RESTORE without REPLACE found the key there (BUSYKEY); in place of a reply."""


class RefusedError(ServerError):
    """Authentication failed or the ACL user lacks a right; permanent until credentials change."""


class NotReadyError(ServerError):
    """The server asks for patience: LOADING, BUSY, MASTERDOWN, CLUSTERDOWN, MISCONF and others."""


class ReadOnlyError(ServerError):
    """The server is a replica; the primary is elsewhere, perhaps since a moment ago."""


class OutOfMemoryError(ServerError):
    """The server is at `maxmemory` and may not evict (OOM); returned in place of a reply."""


class ClusterDownError(NotReadyError):
    """Slots of a cluster are served by nobody: start their nodes, or let replicas take over."""


class SplitError(NotReadyError):
    """The keys of one command are on two nodes while their slot moves (TRYAGAIN)."""


class TopologyError(ServerError):
    """A node of a cluster was spoken to as if it were a server of its own, or the reverse."""


class MovedError(TopologyError):
    """A cluster node says that the slot lives elsewhere (MOVED)."""


class AskError(MovedError):
    """A cluster node says that this one key is on its way elsewhere (ASK)."""


class GoneError(CacheError):
    """A cluster node holds nothing any more of what it was to be walked for."""


TRANSIENT: Final = (UnreachableError, NotReadyError, ReadOnlyError)
"""What an operation waits out, within its patience, before it gives up."""

_BY_CODE: Final[dict[str, type[ServerError]]] = {
    "NOAUTH": RefusedError,
    "WRONGPASS": RefusedError,
    "NOPERM": RefusedError,
    "LOADING": NotReadyError,
    "BUSY": NotReadyError,
    "MASTERDOWN": NotReadyError,
    "CLUSTERDOWN": ClusterDownError,
    "TRYAGAIN": SplitError,
    "MISCONF": NotReadyError,
    "NOREPLICAS": NotReadyError,
    "NOSCRIPT": ScriptLostError,
    "EXECABORT": AbortedError,
    "BUSYKEY": TakenError,
    "READONLY": ReadOnlyError,
    "OOM": OutOfMemoryError,
    "MOVED": MovedError,
    "ASK": AskError,
    "CROSSSLOT": TopologyError,
    "WRONGTYPE": WrongTypeError,
}


def from_reply(text: str) -> ServerError:
    """Translate the text of a RESP error into its type.

    Servers echo the arguments of commands they do not know ("…, with args beginning with: …"),
    which is how passwords reach logs; that part is dropped.
    """
    said = text.partition(", with args")[0][:_MAX_TEXT]
    return _BY_CODE.get(text.partition(" ")[0], CommandError)(said)
