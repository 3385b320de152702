"""How often the gates are wrong, and how fast they are right: `make bench-gates`.

    python -m benchmarks.gates [--runs 40000] [--write PAGE]

Prints a line with rate and time left while it works, and tables at the end. Seeds are fixed: the
same `--runs` give the same tables. `--write` also puts them into a page, between its two marks.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.gates import cold, studies, tables
from benchmarks.gates.studies import SEED, Outcome, Study

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
FULL = 40_000
COLD_WORK = {10: 4_000, 100: 12_000, 1000: 90_000}
"""How long one cold canary takes, as runs × ticks of the others, by its rate."""
COLD_RUNS = {10: 1 / 400, 100: 1 / 800, 1000: 1 / 4_000}
COLD_SECONDS = 300.0
CASES = {
    "healthy, cold namespace": (tables.NO_ABORT, False, 0.0),
    "healthy, copied and mirrored": (tables.NO_ABORT, True, 0.0),
    "18 % of lookups broken, copied and mirrored": (tables.IN_TIME, True, cold.BROKEN),
}


class Progress:
    """One line that lives on a terminal, and now and then a line elsewhere."""

    def __init__(self, work: int) -> None:
        self.work, self.done, self.label = work, 0, ""
        self.began = self.said = time.monotonic()

    def __call__(self, done: int) -> None:
        """So much more of the work is done."""
        self.done += done
        now = time.monotonic()
        if now - self.said < (0.2 if sys.stderr.isatty() else 10):
            return
        self.said = now
        rate = self.done / (now - self.began)
        left = (self.work - self.done) / rate
        line = (
            f"{self.done / self.work:4.0%}  {rate / 1e6:.2f} million ticks/s  "
            f"{left // 60:.0f}:{left % 60:02.0f} left  {self.label}"
        )
        start, stop = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
        print(f"{start}{line}", end=stop, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the error rates of the gates.")
    parser.add_argument("--runs", type=int, default=FULL, help="healthy canaries of each kind")
    parser.add_argument("--write", type=Path, help="a Markdown page to put the tables into")
    asked = parser.parse_args()
    if asked.runs < 100:
        parser.error(f"--runs must be at least 100, such as 4000; it is {asked.runs}")
    began = time.monotonic()
    text = measure(asked.runs)
    print(f"\n{text}\n\n{time.monotonic() - began:.0f} s")
    if asked.write:
        put(asked.write, text)


def measure(runs: int) -> str:
    """Every study at this size, as Markdown."""
    few = max(runs // 10, 50)
    plan = {
        "healthy": studies.false_aborts(runs),
        "bad": studies.regressions(few),
        "late": studies.late_regressions(few),
        "shared": studies.shared_degradations(few),
        "hiccups": studies.hiccups(few),
    }
    canaries = {rate: max(round(runs * each), 2) for rate, each in COLD_RUNS.items()}
    work = sum(study.work for group in plan.values() for study in group)
    work += sum(COLD_WORK[rate] * number for rate, number in canaries.items()) * len(CASES)
    progress = Progress(work)
    done = {name: _run(group, progress) for name, group in plan.items()}
    played = _cold(canaries, progress)
    by_rule = tables.rules(done["hiccups"], done["healthy"], done["bad"])
    head = (
        f"`make bench-gates`: seed {SEED}, numpy {np.__version__}; {runs:,} healthy and marginal "
        f"canaries of each kind, {few:,} of all others. `/s` are cache operations of "
        "the canary, `s` the interval between scrapes."
    )
    parts = {
        "False aborts": tables.false_aborts(done["healthy"]),
        "Detection": tables.delays(done["bad"]),
        "Regressions that begin five minutes into the canary": tables.late_delays(
            done["late"], done["bad"]
        ),
        "Wrong verdicts": tables.wrong_passes(done["bad"], done["shared"]),
        "Rules against hiccups": "\n\n".join(by_rule),
        "Cold caches": tables.cold(played),
    }
    return "\n\n".join((head, *(f"### {title}\n{part}" for title, part in parts.items())))


def put(page: Path, text: str) -> None:
    """The text into the page, in place of what stood between the marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"--write: {page} must hold the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def _run(group: Sequence[Study], progress: Progress) -> list[Outcome]:
    outcomes = []
    for study in group:
        weather = study.weather
        progress.label = f"{study.name}, {weather.per_second:g}/s, {weather.interval:g} s"
        outcomes.append(studies.run(study, progress))
    return outcomes


def _cold(canaries: dict[int, int], progress: Progress) -> dict[str, tuple[str, list[cold.Cold]]]:
    played = {}
    for case, (goal, is_mirrored, broken) in CASES.items():
        for rate, number in canaries.items():
            name = f"{case}, {rate}/s"
            progress.label, ended = name, []
            for each in range(number):
                rng = np.random.default_rng([SEED, rate, each, is_mirrored])
                ended.append(
                    cold.play(rng, rate, COLD_SECONDS, is_mirrored=is_mirrored, broken=broken)
                )
                progress(COLD_WORK[rate])
            played[name] = (goal, ended)
    return played


if __name__ == "__main__":
    main()
