"""How the demo speaks: one line a step with the time, a live line while something runs, a table."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sampling import Sample


@dataclass(slots=True)
class Narrator:
    """Prints what happens, as it happens."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str, style: str = "") -> None:
        """One line with the time since the start."""
        self.console.print(Text.assemble((f"{self._clock()}  ", "dim"), (text, style)))

    def title(self, text: str) -> None:
        """A headline."""
        self.console.print()
        self.console.rule(Text(text, style="bold"), align="left")

    def typed(self, command: str) -> None:
        """What was typed on behalf of the user."""
        self.console.print(Text.assemble((f"{self._clock()}  ", "dim"), ("$ ", "bold"), command))

    def live(self) -> Live:
        """A live line at the bottom; it is gone when the step ends."""
        return Live(console=self.console, refresh_per_second=4, transient=True)

    def line(self, rollout: dict[str, Any], users: dict[str, Any]) -> Text:
        """The live line: phase, warm-up, weight, origin, users."""
        status = rollout.get("status") or {}
        warm = status.get("warm") or {}
        origin = status.get("origin") or {}
        parts = [f"{status.get('phase', '…'):<11}", status.get("versions", "")]
        if warm.get("summary") and warm.get("summary") != "warm":
            parts.append(f"warm {warm['done']:,}/{warm['total']:,}")
        if status.get("weightPercent"):
            parts.append(f"{status['weightPercent']:.0f} % of pods")
        if origin.get("ratio") is not None:
            parts.append(f"origin {origin['ratio']:.2f}×")
        satisfied = [g for g in status.get("gates", []) if g["verdict"] in ("Pass", "NotAsked")]
        if status.get("gates"):
            parts.append(f"gates {len(satisfied)}/{len(status['gates'])}")
        parts.append(f"{users.get('requests', 0):,} requests, {users.get('errors', 0)} failed")
        return Text(f"{self._clock()}  " + " · ".join(part for part in parts if part), style="cyan")

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self.started)
        return f"{seconds // 60:02}:{seconds % 60:02}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One release from the moment it was typed to its end."""

    title: str
    phase: str
    message: str
    seconds: float
    phases: tuple[tuple[str, float], ...]
    """Phases with their seconds."""
    origin_before: float
    origin_peak: float
    hit_before: float | None
    hit_lowest: float | None
    hit_after: float | None
    requests: int
    failed: int
    broken: int
    stale: int
    bad_span: float | None
    """Seconds from the first bad response of the release on trial to its last; None without any."""
    bad_after_abort: int

    @property
    def origin_ratio(self) -> float:
        """Highest load on the database ÷ load before."""
        return self.origin_peak / self.origin_before if self.origin_before else 0.0


def lowest_hit_rate(samples: Iterable[Sample]) -> float | None:
    """The lowest hit rate of any sample with lookups."""
    rates = [sample.hit_rate for sample in samples if sample.hit_rate is not None]
    return min(rates, default=None)


def table(outcomes: list[Outcome]) -> Table:
    """Both releases side by side."""
    shown = Table(title="What it came to", title_style="bold", title_justify="left")
    shown.add_column("")
    for outcome in outcomes:
        shown.add_column(outcome.title, justify="right")
    names = list(dict.fromkeys(name for outcome in outcomes for name, _ in outcome.phases))
    for name in names:
        shown.add_row(f"time in {name}", *(_phase_time(o, name) for o in outcomes))
    rows = (
        ("ended as", lambda o: o.phase),
        ("time in all", lambda o: f"{o.seconds:.0f} s"),
        (
            "database reads/s before → peak",
            lambda o: f"{o.origin_before:.0f} → {o.origin_peak:.0f}",
        ),
        ("  peak ÷ before", lambda o: f"{o.origin_ratio:.2f}×"),
        ("hit rate before / lowest / after", _rates),
        ("users' requests", lambda o: f"{o.requests:,}"),
        ("  failed", lambda o: f"{o.failed:,}"),
        ("  broken", lambda o: f"{o.broken:,}"),
        ("  stale reads", lambda o: f"{o.stale:,}"),
        ("first to last bad response of it", _span),
        ("bad responses after the abort", lambda o: str(o.bad_after_abort)),
    )
    for label, cell in rows:
        shown.add_row(label, *(cell(outcome) for outcome in outcomes))
    return shown


def _phase_time(outcome: Outcome, name: str) -> str:
    seconds = sum(spent for phase, spent in outcome.phases if phase == name)
    return f"{seconds:.0f} s" if seconds else "–"


def _rates(outcome: Outcome) -> str:
    rates = (outcome.hit_before, outcome.hit_lowest, outcome.hit_after)
    return " / ".join(f"{rate * 100:.0f} %" if rate is not None else "–" for rate in rates)


def _span(outcome: Outcome) -> str:
    return f"{outcome.bad_span:.1f} s" if outcome.bad_span is not None else "none"
