"""A CacheRollout as people see it in a terminal. Pure: a stored object in, lines out."""

from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
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
_BAR: Final = 20


def view(rollout: dict[str, Any], now: float) -> RenderableType:
    """The whole rollout; `now` in seconds since the epoch, for ages."""
    status = rollout.get("status") or {}
    parts: list[RenderableType] = [_head(rollout, status, now), _message(status)]
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
    since = (status.get("timeline") or [{}])[-1].get("at")
    age = f" · for {_age(since, now)}" if since else ""
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
    table = Table.grid(padding=(0, 2))
    for label, side in rows:
        if not side:
            continue
        admitted = f", {side['admitted']} admitted" if side.get("admitted") else ""
        table.add_row(
            Text(label.ljust(7), style="dim"),
            side["version"],
            f"{side['ready']}/{side['replicas']} ready{admitted}",
            _figure(side.get("requestsPercent"), "{:.0f} % of requests"),
            _figure(side.get("hitRatePercent"), "hit {:.1f} %"),
            _figure(side.get("errorPercent"), "errors {:.2f} %"),
        )
    return table


def _warmth(status: dict[str, Any]) -> Table | None:
    warm = status.get("warm")
    if not warm:
        return None
    table = Table.grid(padding=(0, 2))
    coherent = (status.get("cache") or {}).get("coherent")
    lag = (status.get("cache") or {}).get("lagMs")
    for index, family in enumerate(warm.get("families", [])):
        done, total = family.get("done", 0), family.get("total", 0)
        share = family.get("coveragePercent")
        if share is None:
            is_warm = warm.get("summary") == "warm"
            share = 100 * done / total if total else (100.0 if is_warm else 0.0)
        note = f"{family['method'].lower()}: {done:,} of {total:,}"
        if family["method"] == "None":
            note = "left cold"
        table.add_row(
            Text(("warm" if index == 0 else "").ljust(7), style="dim"),
            family["name"],
            bar(share / 100),
            note,
        )
    rate = warm.get("keysPerSecond")
    if rate and warm.get("summary") != "warm":
        eta = warm.get("etaSeconds")
        table.add_row("", "", "", f"{rate:,.0f} keys/s" + (f" · ETA {eta:.0f} s" if eta else ""))
    if coherent is not None:
        lagging = f", lag {lag:g} ms" if lag is not None else ""
        words = f"mirrored, coherent{lagging}" if coherent else "the mirror is being repaired"
        table.add_row("", "", "", Text(words, style="" if coherent else "yellow"))
    return table


def _gates(status: dict[str, Any]) -> Table | None:
    gates = status.get("gates")
    if not gates:
        return None
    table = Table.grid(padding=(0, 2))
    for index, gate in enumerate(gates):
        verdict = gate["verdict"]
        eta = gate.get("etaSeconds")
        against = f"evidence {gate['evidence']}" if verdict not in ("NotAsked", "Pass") else ""
        table.add_row(
            Text(("gates" if index == 0 else "").ljust(7), style="dim"),
            gate["name"],
            Text(verdict, style=_VERDICT_STYLE.get(verdict, "")),
            gate.get("value", ""),
            Text(gate.get("target", ""), style="dim"),
            f"{against}{f' · ETA {eta:.0f} s' if eta else ''}",
        )
    return table


def _complaints(status: dict[str, Any]) -> Group | None:
    """The sentence of every gate that stops the rollout, below the table so that it can be long."""
    told = [
        Text(f"         {gate['name']}: {gate['message']}", style=_VERDICT_STYLE[gate["verdict"]])
        for gate in status.get("gates", [])
        if gate["verdict"] in ("Fail", "Hold")
    ]
    return Group(*told) if told else None


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


def _age(moment: str, now: float) -> str:
    seconds = max(0, int(now - datetime.fromisoformat(moment).timestamp()))
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
