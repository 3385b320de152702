"""Commands about keys on several primaries, said key by key."""

from typing import Any

import pytest

from cacherollout.cache.connections import Command, Reply
from cacherollout.cache.crossings import crossing
from cacherollout.cache.errors import OutOfMemoryError, TakenError

FULL = OutOfMemoryError("OOM")


def hold(command: Command, *answers: list[Any]) -> tuple[list[Any], Reply]:
    """What was said, and what it came to, when the server answers so."""
    conversation = crossing(command)
    said = [next(conversation), *(conversation.send(answer) for answer in answers[:-1])]
    with pytest.raises(StopIteration) as end:
        conversation.send(answers[-1])
    return said, end.value.value


def test_a_copy_brings_value_and_expiry_over() -> None:
    said, outcome = hold((b"COPY", b"a", b"b"), [1_700, b"dump"], [b"OK"])
    assert said == [
        [(b"PEXPIRETIME", b"a"), (b"DUMP", b"a")],
        [(b"RESTORE", b"b", 1_700, b"dump", b"ABSTTL")],
    ]
    assert outcome == 1


def test_a_key_without_ttl_stays_so() -> None:
    said, _ = hold((b"COPY", b"a", b"b", b"REPLACE"), [-1, b"dump"], [b"OK"])
    assert said[1] == [(b"RESTORE", b"b", 0, b"dump", b"ABSTTL", b"REPLACE")]


@pytest.mark.parametrize("answer", [[-2, None], [1_700, None], [-2, b"came back"]])
def test_a_source_that_is_gone_is_not_copied(answer: list[Any]) -> None:
    assert hold((b"COPY", b"a", b"b"), answer)[1] == 0


def test_what_is_there_stays_and_a_full_server_says_so() -> None:
    assert hold((b"COPY", b"a", b"b"), [-1, b"dump"], [TakenError("BUSYKEY")])[1] == 0
    assert hold((b"COPY", b"a", b"b"), [-1, b"dump"], [FULL])[1] is FULL


def test_counts_add_up() -> None:
    said, outcome = hold((b"UNLINK", b"a", b"b", b"c"), [1, 0, 1])
    assert said == [[(b"UNLINK", b"a"), (b"UNLINK", b"b"), (b"UNLINK", b"c")]]
    assert outcome == 2


def test_what_cannot_be_taken_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="several primaries"):
        crossing((b"EVALSHA", b"0" * 40, 2, b"a", b"b"))
