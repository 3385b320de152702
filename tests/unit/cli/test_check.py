"""The command around the checklist: exit codes, both outputs, and where it believes to run."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cacherollout.adapters.kube.client import Client
from cacherollout.api.names import Key
from cacherollout.api.reasons import Reason
from cacherollout.cli import inspections
from cacherollout.cli.check import Verdict, verdict, view
from cacherollout.cli.rollouts import Where, connected, is_inside
from cacherollout.core.checklist import Checklist, refuse
from cacherollout.core.readiness import POINTS, Item, Outcome
from cacherollout.ports.errors import DependencyError
from tests.unit.cli.conftest import FakeClient, a_rollout, call, put

SHOP = Where("config", None, "shop")


def a_list(**outcomes: Outcome) -> Checklist:
    """Everything in order but what is named."""
    return Checklist(
        tuple(Item(name, outcomes.get(name, Outcome.OK), f"about {name}") for name in POINTS)
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (a_list(), Verdict.READY),
        (a_list(ttl=Outcome.WARNING), Verdict.READY),
        (a_list(ttl=Outcome.NOT_CHECKED), Verdict.UNKNOWN),
        (a_list(ttl=Outcome.NOT_CHECKED, canary=Outcome.FAILED), Verdict.NOT_READY),
    ],
    ids=["in order", "a warning", "something not checked", "a failure"],
)
def test_the_exit_code_says_whether_a_release_may_come(found: Checklist, expected: Verdict) -> None:
    assert verdict(found) is expected


def given(monkeypatch: pytest.MonkeyPatch, found: Checklist | Exception | None) -> None:
    async def inspect(client: Client, key: Key, *, is_inside: bool) -> Checklist | None:
        assert key == Key("shop", "api")
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(inspections, "inspect", inspect)


def text_of(found: Checklist, width: int, where: Where = SHOP) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(view(where, "api", found))
    return captured.get()


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_names_every_item_whole(width: int) -> None:
    text = text_of(a_list(hold=Outcome.FAILED, access=Outcome.NOT_CHECKED), width)
    assert all(f" {name} " in text for name in POINTS)
    assert "…" not in text
    assert "0/10" in text
    told = " ".join(text.split())
    assert "Not ready for a release: readiness 40 of 100 (16 ok, 1 failed, 1 not checked)." in told
    assert "at most 40 while hold would stop or break a rollout" in told


def test_people_are_told_where_to_run_it_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "python3 -m cacherollout check api -n shop"
    assert hint in text_of(a_list(access=Outcome.NOT_CHECKED), 120)
    assert hint not in text_of(a_list(), 120)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("HOME", "/nonexistent")
    inside = Where(None, None, "shop")
    assert hint not in text_of(a_list(access=Outcome.NOT_CHECKED), 120, inside)


def test_machines_get_the_same(server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, a_list(ttl=Outcome.WARNING))
    ran = call("check", "api", "-n", "shop", "-o", "json")
    said = json.loads(ran.output)
    assert (ran.exit_code, said["verdict"], said["score"]) == (0, "Ready", 98)
    assert [each["name"] for each in said["items"]] == list(POINTS)
    ttl = next(each for each in said["items"] if each["name"] == "ttl")
    assert (ttl["outcome"], ttl["points"], ttl["maxPoints"]) == ("warning", 2, 4)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "There is no CacheRollout api in namespace shop."),
        (DependencyError(Reason.FORBIDDEN, "The API server denies it"), "denies it"),
    ],
)
def test_what_cannot_be_looked_at_is_not_called_unready(
    server: FakeClient, monkeypatch: pytest.MonkeyPatch, found: Any, said: str
) -> None:
    given(monkeypatch, found)
    ran = call("check", "api", "-n", "shop")
    assert (ran.exit_code, said in ran.output, server.is_closed) == (2, True, True)


def test_a_spec_that_cannot_be_read_fails(server: FakeClient) -> None:
    rollout = a_rollout()
    rollout["spec"] = {"targetRef": {"name": "api"}}
    put(server, rollout)
    ran = call("check", "api", "-n", "shop", "-o", "json")
    assert ran.exit_code == 1
    assert json.loads(ran.output)["items"][0]["message"].startswith("spec.cache: ")
    assert refuse("x").score == json.loads(ran.output)["score"] == 0


@pytest.mark.parametrize(
    ("where", "environment", "has_file", "expected"),
    [
        (Where(None, None, "shop"), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False, True),
        (Where(None, None, "shop"), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True, False),
        (Where("given", None, "shop"), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False, False),
        (Where(None, "given", "shop"), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False, False),
        (
            Where(None, None, "shop"),
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": "given"},
            False,
            False,
        ),
        (Where(None, None, "shop"), {}, False, False),
    ],
    ids=["in a pod", "a file where kubectl looks", "--kubeconfig", "--context", "KUBECONFIG",
         "on a laptop"],
)  # fmt: skip
async def test_a_pod_uses_its_service_account(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    where: Where,
    environment: dict[str, str],
    has_file: bool,
    expected: bool,
) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**environment, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    if has_file:
        (tmp_path / ".kube").mkdir()
        (tmp_path / ".kube" / "config").touch()
    used: list[str] = []

    async def in_cluster() -> FakeClient:
        used.append("account")
        return FakeClient()

    async def from_kubeconfig(*_: str | None) -> FakeClient:
        used.append("kubeconfig")
        return FakeClient()

    monkeypatch.setattr(Client, "in_cluster", in_cluster)
    monkeypatch.setattr(Client, "from_kubeconfig", from_kubeconfig)
    async with connected(where):
        await asyncio.sleep(0)
    assert is_inside(where) is expected
    assert used == ["account" if expected else "kubeconfig"]
