"""The incident report says what happened to those who were not there."""

import pytest

from cacherollout.adapters.kube.resources import EVENTS, Resource
from cacherollout.api.ledger import Abort, Attempt, Evidence, Judgement, Ledger, dump_ledger
from tests.factories import RELEASE, traffic
from tests.unit.cli.conftest import FakeClient, Manifest, a_rollout, call, put

BEGAN = 1_800_000_000.0
ABORT = Abort(
    "GateFailed",
    "integrity: 43 of 200 sampled values of v2 are unusable (role is missing)",
    BEGAN + 40,
    judgements=(
        Judgement("cacheHitRate", "Pass", "92 of 1,000 lookups missed", "90.8 %", "≥ 80 %", 0.03),
        Judgement("integrity", "Fail", "43 of 200 | unusable", "157 of 200", "≤ 1 % unusable"),
    ),
    origin_ratio=1.04,
    stable_version="v1",
    undone_at=BEGAN + 43,
)
UNDONE = Attempt(
    number=3,
    release=RELEASE,
    started_at=BEGAN,
    warmed_at=BEGAN + 9,
    traffic_since=BEGAN + 9,
    admitted=1,
    abort=ABORT,
    evidence=(Evidence("httpErrorRate", bad=0, total=1081),),
    stable_traffic=traffic(),
    canary_traffic=traffic(requests=10.0),
)


def an_event(at: str, reason: str, message: str) -> Manifest:
    return {"lastTimestamp": at, "reason": reason, "message": message}


@pytest.fixture
def told(server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> list[Manifest]:
    """Events that the API server has about the rollout."""
    events: list[Manifest] = []

    async def select(resource: Resource, namespace: str, **query: str) -> list[Manifest]:
        assert (resource, namespace, query) == (EVENTS, "shop", {"fields": "involvedObject.uid=u"})
        return events

    monkeypatch.setattr(server, "select", select, raising=False)
    return events


def report_on(server: FakeClient) -> str:
    put(server, a_rollout(ledger=dump_ledger(Ledger(undone=UNDONE))))
    ran = call("report", "api", "-n", "shop")
    assert ran.exit_code == 0
    return ran.output


def test_it_says_what_happened_when_and_why(server: FakeClient, told: list[Manifest]) -> None:
    told += [
        an_event("2027-01-15T08:00:40Z", "GateFailed", "v2 is undone."),
        an_event("2027-01-15T08:00:00Z", "ReleaseFound", "v2 arrived."),
        an_event("2027-01-15T07:00:00Z", "Succeeded", "Long ago."),
    ]
    text = report_on(server)
    lines = text.splitlines()
    assert lines[0] == "# v2 of api was rolled back"
    assert "| 2027-01-15 08:00:09 | 9s | the first canary pod took traffic |" in lines
    assert "| 2027-01-15 08:00:43 | 43s | nothing of it ran any more |" in lines
    assert (
        "Integrity: 43 of 200 sampled values of v2 are unusable (role is missing). It took traffic "
        "for 31s on 1 canary pod; 0 of its requests failed." in lines
    )
    gate = "| integrity | **Fail** | 157 of 200 | ≤ 1 % unusable | 0 % | 43 of 200 \\| unusable |"
    assert gate in lines
    assert "The database had 1.04× of its normal load." in lines
    assert lines.index("- 08:00:00 `ReleaseFound` v2 arrived.") + 1 == lines.index(
        "- 08:00:40 `GateFailed` v2 is undone."
    )
    assert "Long ago" not in text
    assert "kubectl cacherollout retry api" in text


def test_moments_are_in_the_order_in_which_they_came(
    server: FakeClient, told: list[Manifest]
) -> None:
    moments = [line for line in report_on(server).splitlines() if line.startswith("| 2027")]
    assert len(moments) == 5
    assert moments == sorted(moments)


def test_without_a_roll_back_there_is_nothing_to_report(
    server: FakeClient, told: list[Manifest]
) -> None:
    put(server, a_rollout(ledger=dump_ledger(Ledger())))
    ran = call("report", "api", "-n", "shop")
    assert ran.exit_code == 1
    assert "No release of api was undone" in ran.output
