"""A CacheRollout as people see it in a terminal. Pure: a stored object in, lines out."""

from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_VERDICT_STYLE: Final = {
    "Pass": "green",
    "Fail": "bold red",
    "Hold": "yellow",
    "Error": "yellow",
    "NoData": "yellow",
    "Undecided": "cyan",
    "NotAsked": "dim",
}
_PHASE_STYLE: Final = {
    "Succeeded": "green",
    "Idle": "green",
    "RolledBack": "red",
    "RollingBack": "red",
    "Pending": "yellow",
}
_ENDED: Final = frozenset(("Succeeded", "RolledBack"))
_UNSHARED: Final = frozenset(("Pending", "Idle", "Warming"))
"""Phases in which no user meets the release, though probes and replays are counted on its pods."""
_BAR: Final = 20
_INDENT: Final = 9


def view(rollout: dict[str, Any], now: float) -> RenderableType:
    """The whole rollout; `now` in seconds since the epoch, for ages."""
    status = rollout.get("status") or {}
    parts: list[RenderableType] = [_head(rollout, status, now), _message(status)]
    if status.get("observedGeneration", 0) < rollout["metadata"].get("generation", 0):
        text = "This is about an older spec: the operator has not acted on the newest one yet."
        parts.append(Text(text, style="yellow"))
    for make in (_sides, _warmth, _gates, _complaints, _origin):
        part = make(status)
        if part is not None:
            parts.append(part)
    if status.get("next"):
        parts.append(Text.assemble(("next     ", "dim"), status["next"]))
    return Group(*parts)


def _head(rollout: dict[str, Any], status: dict[str, Any], now: float) -> Text:
    phase = status.get("phase", "Unknown")
    attempt = f" · attempt {status['attempt']}" if status.get("attempt") else ""
    entered = (status.get("timeline") or [{}])[-1]
    age = ""
    if entered.get("phase") == phase:
        passed = duration(now - datetime.fromisoformat(entered["at"]).timestamp())
        age = f" · {passed} ago" if phase in _ENDED else f" · for {passed}"
    return Text.assemble(
        (rollout["metadata"]["name"], "bold"),
        "  ",
        status.get("versions", "").replace("→", " → "),
        "  ",
        (phase, _PHASE_STYLE.get(phase, "cyan")),
        f"{attempt}{age}",
    )


def _message(status: dict[str, Any]) -> Text:
    stalled: dict[str, Any] = next(
        (c for c in status.get("conditions", []) if c["type"] == "Stalled"), {}
    )
    style = "yellow" if stalled.get("status") == "True" else ""
    return Text(status.get("message", "The operator has not looked at it yet."), style=style)


def _sides(status: dict[str, Any]) -> Table | None:
    rows = [("stable", status.get("stable")), ("canary", status.get("target"))]
    if not any(side for _, side in rows):
        return None
    is_shared = bool(status.get("target")) and status.get("phase") not in _UNSHARED
    table = Table.grid(padding=(0, 2))
    for label, side in rows:
        if not side:
            continue
        admitted = f", {side['admitted']} admitted" if side.get("admitted") else ""
        is_unseen = label == "canary" and not is_shared
        share = _figure(side.get("requestsPercent"), "{:.0f} % of requests") if is_shared else ""
        table.add_row(
            Text(label.ljust(7), style="dim"),
            side["version"],
            f"{side['ready']}/{side['replicas']} ready{admitted}",
            "no users yet" if is_unseen else share,
            "" if is_unseen else _figure(side.get("hitRatePercent"), "hit {:.1f} %"),
            "" if is_unseen else _figure(side.get("errorPercent"), "errors {:.2f} %"),
        )
    return table


def _warmth(status: dict[str, Any]) -> Table | None:
    warm = status.get("warm")
    if not warm:
        return None
    is_warm = warm.get("summary") == "warm"
    table = Table.grid(padding=(0, 2))
    for index, family in enumerate(warm.get("families", [])):
        table.add_row(
            Text(("warm" if index == 0 else "").ljust(7), style="dim"),
            family["name"],
            bar(_share(family, is_warm=is_warm)),
            _note(family, is_warm=is_warm),
        )
    rate = warm.get("keysPerSecond")
    if rate and not is_warm:
        eta = warm.get("etaSeconds")
        left = f", about {duration(eta)} left" if eta else ""
        table.add_row("", "", "", f"{rate:,.0f} keys/s{left}")
    cache = status.get("cache") or {}
    coherent, lag = cache.get("coherent"), cache.get("lagMs")
    if coherent is not None:
        lagging = f", lag {_lag(lag)}" if lag is not None else ""
        words = f"mirrored, coherent{lagging}" if coherent else "the mirror is being repaired"
        table.add_row("", "", "", Text(words, style="" if coherent else "yellow"))
    return table


def _share(family: dict[str, Any], *, is_warm: bool) -> float:
    """How much of a family is filled, of one."""
    if family.get("coveragePercent") is not None:
        return float(family["coveragePercent"]) / 100
    if family.get("total"):
        return float(family.get("done", 0) / family["total"])
    return 1.0 if is_warm and family["method"] != "None" else 0.0


def _note(family: dict[str, Any], *, is_warm: bool) -> str:
    method, total = family["method"].lower(), family.get("total", 0)
    if method == "none":
        return "left cold"
    if not total:
        return f"{method}: done" if is_warm else f"{method}: not begun"
    coverage = family.get("coveragePercent")
    held = f", covers {coverage:.0f} %" if coverage is not None else ""
    return f"{method}: {family.get('done', 0):,} of {total:,}{held}"


def _gates(status: dict[str, Any]) -> Table | None:
    gates = status.get("gates")
    if not gates:
        return None
    table = Table.grid(padding=(0, 1))
    for _ in range(5):
        table.add_column(no_wrap=True)
    table.add_column()
    for index, gate in enumerate(gates):
        verdict = gate["verdict"]
        table.add_row(
            Text(("gates" if index == 0 else "").ljust(8), style="dim"),
            gate["name"],
            Text(verdict, style=_VERDICT_STYLE.get(verdict, "")),
            gate.get("value", ""),
            Text(gate.get("target", ""), style="dim"),
            _outlook(gate),
        )
    return table


def _outlook(gate: dict[str, Any]) -> str:
    """What speaks against the canary, and when the gate could let it pass."""
    parts = []
    if gate["verdict"] not in ("NotAsked", "Pass") and gate.get("evidence", "0 %") != "0 %":
        parts.append(f"doubt {gate['evidence']}")
    if gate.get("etaSeconds") is not None:
        parts.append(f"Pass in {duration(gate['etaSeconds'])}")
    return "\n".join(parts)


def _complaints(status: dict[str, Any]) -> Padding | None:
    """The sentence of every gate that stops the rollout, unless the message says it already."""
    told = [
        Text(f"{gate['name']}: {gate['message']}", style=_VERDICT_STYLE[gate["verdict"]])
        for gate in status.get("gates", [])
        if gate["verdict"] in ("Fail", "Hold", "Error", "NoData")
        and gate["message"] not in status.get("message", "")
    ]
    return Padding(Group(*told), (0, 0, 0, _INDENT)) if told else None


def _origin(status: dict[str, Any]) -> Text | None:
    origin = status.get("origin")
    if not origin:
        return None
    ratio = origin.get("ratio")
    shown = f"{ratio:.2f}× of its normal load" if ratio is not None else "being measured"
    return Text.assemble(
        ("origin   ", "dim"),
        f"{shown}, budget {origin['budget']:g}×   ({origin['perSecond']:g}/s, "
        f"normally {origin['baselinePerSecond']:g}/s)",
    )


def bar(share: float) -> str:
    """A bar of fixed width for a share of one."""
    filled = round(_BAR * min(max(share, 0.0), 1.0))
    return "█" * filled + "░" * (_BAR - filled)


def _figure(value: float | None, form: str) -> str:
    return form.format(value) if value is not None else ""


def _lag(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:g} ms"


def duration(seconds: float) -> str:
    """A time as people say it, such as `4m12s`."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
