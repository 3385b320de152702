"""What a request writes, and what people are told about its way."""

from typing import Any

import pytest

from cacherollout.adapters.kube.resources import ROLLOUTS
from cacherollout.api import names
from cacherollout.cli import requests
from cacherollout.ports.errors import DependencyError, Reason
from tests.unit.cli.conftest import FakeClient, a_rollout, call, put

RELEASE = {"revision": "r2", "version": "v2"}
ON_TRIAL = {"ledger": {"attempt": {"number": 1, "release": RELEASE, "startedAt": 1.0}}}
REJECTED = {"ledger": {"rejected": RELEASE}}


@pytest.mark.parametrize(
    ("verb", "status", "written", "said"),
    [
        ("promote", ON_TRIAL, "promote/r2", "promote of revision r2: taken."),
        ("abort", ON_TRIAL, "abort/r2", "abort of revision r2: taken."),
        ("retry", REJECTED, "retry/r2", "retry of revision r2: taken."),
        ("abort", {}, "abort", "abort: taken."),
        ("pause", ON_TRIAL, "pause", "taken."),
        ("resume", ON_TRIAL, "resume", "taken."),
    ],
)
def test_a_request_is_tied_to_the_release_it_speaks_of(
    server: FakeClient, verb: str, status: dict[str, Any], written: str, said: str
) -> None:
    put(server, a_rollout(message="Noted.", **status))
    ran = call(verb, "api", "-n", "shop")
    assert server.patches == [{"metadata": {"annotations": {names.ANNOTATION_REQUEST: written}}}]
    assert (ran.exit_code, said in ran.output) == (0, True)
    assert "Noted." in ran.output


def test_the_answer_is_the_operators(server: FakeClient) -> None:
    """A refusal ends in the rollout's message, which is what is shown."""
    put(server, a_rollout(message="before"))

    def answer(patch: dict[str, Any]) -> None:
        server.objects[ROLLOUTS] = a_rollout(message="Refused: nothing is on trial.")

    server.on_patch = answer
    assert "Refused: nothing is on trial." in call("promote", "api", "-n", "shop").output


def test_nobody_takes_it(server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_WAIT_SECONDS", 0.1)
    put(server, a_rollout())

    def stay(patch: dict[str, Any]) -> None:
        rollout = a_rollout()
        rollout["metadata"]["annotations"] = patch["metadata"]["annotations"]
        server.objects[ROLLOUTS] = rollout

    server.on_patch = stay
    ran = call("pause", "api", "-n", "shop")
    assert ran.exit_code == 1
    assert "has not taken the request within 0.1 s" in ran.output
    assert "watch namespace shop" in ran.output


def test_there_is_nothing_to_ask(server: FakeClient) -> None:
    ran = call("abort", "nope", "-n", "shop")
    assert (ran.exit_code, server.patches) == (1, [])
    assert "There is no CacheRollout nope" in ran.output


def test_a_denied_request_is_one_line(server: FakeClient) -> None:
    server.answers = [DependencyError(Reason.FORBIDDEN, "The API server denies it")]
    ran = call("abort", "api", "-n", "shop")
    assert (ran.exit_code, ran.output) == (1, "Error: The API server denies it\n")
