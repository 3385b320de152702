"""What a server's error becomes, and what of its words is repeated."""

import pytest

from cacherollout.cache.connections import Endpoint
from cacherollout.cache.errors import (
    TRANSIENT,
    AskError,
    ClusterDownError,
    CommandError,
    MovedError,
    NotReadyError,
    OutOfMemoryError,
    ReadOnlyError,
    RefusedError,
    ScriptLostError,
    SplitError,
    TakenError,
    WrongTypeError,
    from_reply,
)


@pytest.mark.parametrize(
    ("text", "kind", "is_transient"),
    [
        ("NOAUTH Authentication required.", RefusedError, False),
        ("WRONGPASS invalid username-password pair", RefusedError, False),
        ("NOPERM this user has no permissions to run the 'copy' command", RefusedError, False),
        ("LOADING Redis is loading the dataset in memory", NotReadyError, True),
        ("BUSY Redis is busy running a script", NotReadyError, True),
        ("MASTERDOWN Link with MASTER is down", NotReadyError, True),
        ("CLUSTERDOWN The cluster is down", ClusterDownError, True),
        ("MISCONF Redis is configured to save RDB snapshots", NotReadyError, True),
        ("NOREPLICAS Not enough good replicas to write.", NotReadyError, True),
        ("NOSCRIPT No matching script.", ScriptLostError, False),
        ("READONLY You can't write against a read only replica.", ReadOnlyError, True),
        ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemoryError, False),
        ("MOVED 3999 127.0.0.1:6381", MovedError, False),
        ("ASK 3999 127.0.0.1:6381", AskError, False),
        ("TRYAGAIN Multiple keys request during rehashing of slot", SplitError, True),
        ("BUSYKEY Target key name already exists.", TakenError, False),
        ("WRONGTYPE Operation against a key", WrongTypeError, False),
        ("ERR syntax error", CommandError, False),
        ("", CommandError, False),
    ],
)
def test_an_error_is_known_by_its_code(text: str, kind: type, is_transient: bool) -> None:
    error = from_reply(text)
    assert type(error) is kind
    assert isinstance(error, TRANSIENT) is is_transient


def test_arguments_that_a_server_echoes_are_dropped_and_long_texts_cut() -> None:
    echo = from_reply("ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'hunter2'")
    assert "hunter2" not in str(echo)
    assert "unknown command 'HELLO'" in str(echo)
    assert len(str(from_reply("ERR " + "x" * 10_000))) <= 256


def test_an_endpoint_never_shows_its_password() -> None:
    endpoint = Endpoint("redis", password="hunter2")
    assert "hunter2" not in f"{endpoint} {endpoint!r}"
