"""What people read of each phase, in terminals as narrow as they come."""

from typing import Any

import pytest
from rich.console import Console, RenderableType

from cacherollout.cli.views import bar, duration, view
from tests.unit.cli.conftest import a_rollout

AT = "2026-01-01T00:00:00Z"
NOW = 1_767_225_642.0
STABLE = {"version": "v1", "replicas": 6, "ready": 6, "admitted": 0}
CANARY = {"version": "v2", "replicas": 1, "ready": 0, "admitted": 0}
SHARES = {"requestsPercent": 85.7, "hitRatePercent": 91.4, "errorPercent": 0.02}


def lines(shown: RenderableType, width: int = 80) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(shown)
    return [line.rstrip() for line in captured.get().splitlines()]


def shown(width: int = 80, **status: Any) -> list[str]:
    return lines(view(a_rollout(**status), NOW), width)


def entered(phase: str) -> dict[str, Any]:
    return {"phase": phase, "attempt": 1, "timeline": [{"phase": phase, "at": AT}]}


def a_gate(verdict: str, **more: Any) -> dict[str, Any]:
    gate = {"name": "cacheErrorRate", "verdict": verdict, "value": "12.2 %", "target": "≤ 1 %"}
    return {**gate, "evidence": "90 %", "message": "46 of 377 failed", **more}


PHASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nobody looked at it": ({}, ["api    Unknown", "The operator has not looked at it yet."]),
    "idle": (
        {"phase": "Idle", "versions": "v1", "message": "v1 is stable and held.", "stable": STABLE},
        ["api  v1  Idle", "v1 is stable and held.", "stable   v1  6/6 ready"],
    ),
    "warming: what reaches the canary is no user": (
        {
            **entered("Warming"),
            "versions": "v1→v2",
            "message": "v2 gets no traffic yet.",
            "stable": {**STABLE, **SHARES},
            "target": {**CANARY, **SHARES},
            "warm": {
                "summary": "50 %",
                "keysPerSecond": 1200.0,
                "etaSeconds": 75,
                "families": [
                    {"name": "user", "method": "Copy", "done": 1500, "total": 3000},
                    {
                        "name": "orders",
                        "method": "Replay",
                        "done": 10,
                        "total": 100,
                        "coveragePercent": 25.0,
                    },
                    {"name": "prices", "method": "None"},
                ],
            },
            "cache": {"coherent": True, "lagMs": 1.2},
            "next": "the first 1 of 6 pods, once it is warm",
        },
        [
            "api  v1 → v2  Warming · attempt 1 · for 42s",
            "v2 gets no traffic yet.",
            "stable   v1  6/6 ready                hit 91.4 %  errors 0.02 %",
            "canary   v2  0/1 ready  no users yet",
            "warm     user    ██████████░░░░░░░░░░  copy: 1,500 of 3,000",
            "         orders  █████░░░░░░░░░░░░░░░  replay: 10 of 100, covers 25 %",
            "         prices  ░░░░░░░░░░░░░░░░░░░░  left cold",
            "                                       1,200 keys/s, about 1m15s left",
            "                                       mirrored, coherent, lag 1.2 ms",
            "next     the first 1 of 6 pods, once it is warm",
        ],
    ),
    "analyzing": (
        {
            **entered("Analyzing"),
            "versions": "v1→v2",
            "message": "v2 takes traffic on 1 pods.",
            "stable": {**STABLE, **SHARES},
            "target": {**CANARY, "ready": 1, "admitted": 1, "requestsPercent": 14.3},
            "warm": {"summary": "warm", "families": [{"name": "user", "method": "Replay"}]},
            "cache": {"coherent": False},
            "gates": [
                a_gate("Undecided", etaSeconds=632.0),
                a_gate("Pass", name="integrity", value="200 of 200", target="≤ 1 % unusable"),
                a_gate("NoData", name="httpErrorRate", value="", evidence="0 %", message="silence"),
            ],
            "origin": {"ratio": 1.04, "budget": 1.5, "perSecond": 31.0, "baselinePerSecond": 30.0},
        },
        [
            "api  v1 → v2  Analyzing · attempt 1 · for 42s",
            "v2 takes traffic on 1 pods.",
            "stable   v1  6/6 ready              86 % of requests  hit 91.4 %  errors 0.02 %",
            "canary   v2  1/1 ready, 1 admitted  14 % of requests",
            "warm     user  ████████████████████  replay: done",
            "                                     the mirror is being repaired",
            "gates    cacheErrorRate Undecided 12.2 %     ≤ 1 %          doubt 90 %",
            "                                                            Pass in 10m32s",
            "         integrity      Pass      200 of 200 ≤ 1 % unusable",
            "         httpErrorRate  NoData               ≤ 1 %",
            "         httpErrorRate: silence",
            "origin   1.04× of its normal load, budget 1.5×   (31/s, normally 30/s)",
        ],
    ),
    "held: the message says which gate, once": (
        {
            **entered("Analyzing"),
            "versions": "v1→v2",
            "message": "Held at 1 canary pods. cacheErrorRate: 46 of 377 failed",
            "gates": [a_gate("Hold", evidence="100 %")],
            "origin": {"budget": 1.5, "perSecond": 0.0, "baselinePerSecond": 0.0},
        },
        [
            "api  v1 → v2  Analyzing · attempt 1 · for 42s",
            "Held at 1 canary pods. cacheErrorRate: 46 of 377 failed",
            "gates    cacheErrorRate Hold 12.2 % ≤ 1 % doubt 100 %",
            "origin   being measured, budget 1.5×   (0/s, normally 0/s)",
        ],
    ),
    "promoting": (
        {**entered("Promoting"), "versions": "v1→v2", "message": "v2 is being promoted."},
        ["api  v1 → v2  Promoting · attempt 1 · for 42s", "v2 is being promoted."],
    ),
    "rolled back": (
        {**entered("RolledBack"), "versions": "v1", "message": "Rolled back v2: 12 failed."},
        ["api  v1  RolledBack · attempt 1 · 42s ago", "Rolled back v2: 12 failed."],
    ),
    "succeeded": (
        {**entered("Succeeded"), "versions": "v2", "message": "v2 is stable."},
        ["api  v2  Succeeded · attempt 1 · 42s ago", "v2 is stable."],
    ),
    "a time that belongs to another phase is not told": (
        {**entered("Succeeded"), "phase": "Pending", "versions": "v2", "message": "It waits."},
        ["api  v2  Pending · attempt 1", "It waits."],
    ),
    "an older spec": (
        {"phase": "Idle", "message": "v1 is stable.", "observedGeneration": 1},
        [
            "api    Idle",
            "v1 is stable.",
            "This is about an older spec: the operator has not acted on the newest one yet.",
        ],
    ),
}


@pytest.mark.parametrize("case", PHASES)
def test_a_phase_is_read_at_a_glance(case: str) -> None:
    status, expected = PHASES[case]
    assert shown(**status) == expected


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_off(width: int) -> None:
    text = "\n".join(shown(width, **PHASES["analyzing"][0]))
    assert "…" not in text
    assert "cacheErrorRate" in text


def test_a_stalled_rollout_stands_out() -> None:
    stalled = [{"type": "Stalled", "status": "True"}]
    console = Console(width=80, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(view(a_rollout(message="Fix it.", conditions=stalled), NOW))
    assert "\x1b[33mFix it." in captured.get()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (42.9, "42s"), (60, "1m00s"), (632, "10m32s"), (7260, "2h01m")],
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("share", "filled"), [(-1, 0), (0, 0), (0.5, 10), (1, 20), (7, 20)])
def test_a_bar_stays_a_bar(share: float, filled: int) -> None:
    assert bar(share) == "█" * filled + "░" * (20 - filled)
