"""A plan as people and as machines read it. Pure: courses in, lines out."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cacherollout.api.scalars import format_duration
from cacherollout.core.plan.courses import WINDOW, Course, Event, chance, figures, rolling
from cacherollout.core.plan.popularity import hit_rate
from cacherollout.core.plan.scenes import Scene

_BARS: Final = "▁▂▃▄▅▆▇█"
_COLUMNS: Final = 50
"""Characters of a sparkline."""
_MOST_EVENTS: Final = 12
"""Lines of the timeline; more of the same kind are drawn together."""
_CHANCE_WORTH_SAYING: Final = 0.05


def view(
    name: str, scene: Scene, courses: Sequence[Course], notes: Sequence[str]
) -> RenderableType:
    """The chosen settings' timeline, and all courses side by side."""
    chosen = courses[0]
    return Group(
        _head(name, scene, chosen),
        *(Text(note, style="yellow") for note in notes),
        Text(),
        _timeline(chosen),
        Text(),
        _sparks(chosen),
        Text(),
        _comparison(scene, courses),
        Text(),
        _closing(chosen),
    )


def _head(name: str, scene: Scene, chosen: Course) -> Text:
    known = percent(hit_rates(scene))
    text = (
        f"with {scene.lookups:,.0f} lookups/s, {known} of them hits, {chosen.normal:,.0f} origin "
        f"reads/s in normal times; {scene.shape.replicas} pods"
    )
    head = Text.assemble((f"{name or 'A release'} ", "bold"), text)
    for each in scene.populations:
        keys = sum(each.popularity.keys)
        line = (
            f"{each.name}: {keys:,.0f} keys, TTL {format_duration(each.ttl)}, "
            f"{each.lookups:,.0f} lookups/s"
        )
        head.append(f"\n{line}", style="dim")
    return head


def hit_rates(scene: Scene) -> float:
    """Hit rate (0…1) of all families in normal times."""
    hits = sum(
        each.lookups * hit_rate(each.popularity, each.lookups, each.ttl, each.writes)
        for each in scene.populations
    )
    return hits / scene.lookups


def _timeline(course: Course) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("after", justify="right")
    table.add_column("traffic", justify="right")
    table.add_column("origin", justify="right")
    table.add_column("what happens", ratio=1)
    for event in shortened(course.events):
        at = min(int(event.at), len(course.samples) - 1)
        sample, ratio = course.samples[at], course.loads[at]
        table.add_row(clock(event.at), f"{100 * sample.share:.0f} %", f"{ratio:.2f}×", event.text)
    if course.promoted_at is None:
        table.add_row(clock(len(course.samples)), "", "", f"given up: {course.problem}.")
    return table


def shortened(events: Sequence[Event]) -> list[Event]:
    """The timeline with runs of admissions drawn together where it would be long."""
    if len(events) <= _MOST_EVENTS:
        return list(events)
    runs: list[list[Event]] = []
    for event in events:
        if runs and _kind(runs[-1][-1]) == _kind(event) != "":
            runs[-1].append(event)
        else:
            runs.append([event])
    return [
        run[0]
        if len(run) == 1
        else Event(run[-1].at, f"{run[-1].text} ({len(run)} such steps since {clock(run[0].at)})")
        for run in runs
    ]


def _kind(event: Event) -> str:
    """What repeats: texts that differ in figures only; a phase's entry never repeats."""
    head = event.text.partition(" ")[0]
    return "" if head.endswith(":") else "".join(each for each in event.text if each.isalpha())


def _sparks(course: Course) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    budget = course.budget or 0.0
    loads = rolling(course.loads, WINDOW)
    top = max(*loads, budget, 2.0)
    table.add_row("origin", spark(loads, 0.0, top), f"▁ 0, █ {top:.2f}× of normal")
    shares = [sample.share for sample in course.samples]
    table.add_row("traffic", spark(shares, 0.0, 1.0), "share of the new version")
    misses = [1 - sample.flow.hit_rate for sample in course.samples]
    high = max(misses)
    table.add_row(
        "misses",
        spark(misses, 0.0, high),
        f"█ {percent(high)} of all lookups, usually {percent(misses[0])}",
    )
    table.add_row("", f"0:00{clock(len(shares)):>{_COLUMNS - 4}}", "")
    return Padding(table, 0)


def spark(values: Sequence[float], low: float, high: float) -> str:
    """Values as bars, the highest of each stretch."""
    width = min(_COLUMNS, len(values))
    edges = [round(at * len(values) / width) for at in range(width + 1)]
    tops = [max(values[a:b]) for a, b in pairwise(edges)]
    span = (high - low) or 1.0
    return "".join(
        _BARS[min(len(_BARS) - 1, max(0, int((top - low) / span * len(_BARS))))] for top in tops
    )


def _comparison(scene: Scene, courses: Sequence[Course]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("way of releasing", ratio=1)
    budget = f"over {scene.spec.budget():g}×"
    for header in ("1 s", "10 s", budget, "extra", "lowest hits", "memory", "all served"):
        table.add_column(header, justify="right", no_wrap=True)
    for index, course in enumerate(courses):
        found = figures(course)
        over = found.seconds_over
        style = "bold" if index == 0 else ""
        table.add_row(
            Text(course.name, style=style),
            f"{found.peak_1s:.2f}×",
            f"{found.peak_10s:.2f}×",
            Text(f"{over} s", style="red" if over else "green"),
            f"{found.extra_seconds:,.0f} s",
            percent(found.lowest_hit_rate),
            size(found.most_bytes),
            Text("given up", style="red")
            if course.promoted_at is None
            else clock(course.promoted_at),
        )
    return table


def _closing(course: Course) -> Text:
    text = (
        "1 s, 10 s: highest origin load over such a time ÷ normal load. extra: origin reads beyond "
        "normal, in seconds of normal load. memory: of both versions' keys."
    )
    luck = chance(course.normal, len(course.samples))
    if luck >= _CHANCE_WORTH_SAYING:
        text += (
            f" These are means: by chance alone the highest second of a run lies {100 * luck:.0f} % above, "
            f"the highest ten seconds {100 * chance(course.normal, len(course.samples), WINDOW):.0f} %."
        )
    return Text(text, style="dim")


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.1f} %"


def clock(seconds: float) -> str:
    """Seconds as people read a stopwatch."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Bytes, in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def as_json(scene: Scene, courses: Sequence[Course], notes: Sequence[str]) -> dict[str, object]:
    """The plan as machines read it; series hold one value a second."""
    return {
        "load": {
            "lookupsPerSecond": round(scene.lookups, 3),
            "hitRate": round(hit_rates(scene), 6),
            "originPerSecond": round(courses[0].normal, 3),
            "replicas": scene.shape.replicas,
            "families": [
                {
                    "name": each.name,
                    "keys": sum(each.popularity.keys),
                    "ttlSeconds": each.ttl,
                    "lookupsPerSecond": round(each.lookups, 3),
                }
                for each in scene.populations
            ],
        },
        "budget": scene.spec.budget(),
        "notes": list(notes),
        "ways": list(_ways(courses)),
    }


def _ways(courses: Sequence[Course]) -> Iterator[dict[str, object]]:
    for course in courses:
        found = figures(course)
        lowest_new = found.lowest_new_hit_rate
        yield {
            "name": course.name,
            "promotedAtSeconds": course.promoted_at,
            "problem": course.problem,
            "peak1s": round(found.peak_1s, 4),
            "peak10s": round(found.peak_10s, 4),
            "secondsOverBudget": found.seconds_over,
            "extraSeconds": round(found.extra_seconds, 1),
            "lowestHitRate": round(found.lowest_hit_rate, 4),
            "lowestNewHitRate": None if lowest_new is None else round(lowest_new, 4),
            "mostBytes": round(found.most_bytes),
            "chance1s": round(chance(course.normal, len(course.samples)), 4),
            "chance10s": round(chance(course.normal, len(course.samples), WINDOW), 4),
            "events": [{"at": event.at, "text": event.text} for event in course.events],
            "series": {
                "originRatio": [round(each, 4) for each in course.loads],
                "share": [round(sample.share, 4) for sample in course.samples],
                "hitRate": [round(sample.flow.hit_rate, 4) for sample in course.samples],
            },
        }
