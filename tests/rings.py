"""Run the rings of tests one after the other and print one summary.

`python tests/rings.py [RING ...]`; without names, all of them. Exit code 0 only if every ring ran,
nothing failed, and, in CI, nothing was skipped.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "reports"
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


@dataclass(frozen=True, slots=True)
class Ring:
    """A set of tests and what it proves."""

    name: str
    proves: str
    command: tuple[str, ...]
    expected_minutes: float


RINGS = (
    Ring("unit", "each rule by itself", (sys.executable, *PYTEST, "tests/unit"), 1),
    Ring(
        "scenario",
        "the whole loop, crashes included",
        (sys.executable, *PYTEST, "tests/scenario"),
        1,
    ),
    Ring(
        "example",
        "the reference API, on a real Redis and PostgreSQL",
        (
            ".tools/bin/uv",
            "run",
            "--frozen",
            "--quiet",
            "--project",
            "examples/blingauto-api",
            "python",
            *PYTEST,
            "-c",
            "examples/blingauto-api/pyproject.toml",
            "examples/blingauto-api/tests",
        ),
        1,
    ),
    Ring(
        "contract",
        "adapters and engine on a real Redis and API server",
        (sys.executable, *PYTEST, "tests/contract"),
        3,
    ),
    Ring(
        "e2e",
        "the product on the real cluster",
        # One lane a worker; tests of one file, which may build on one another, stay in one lane.
        (sys.executable, *PYTEST, "--numprocesses=3", "--dist=loadfile", "tests/e2e"),
        12,
    ),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a ring's report says."""

    ring: Ring
    passed: int
    failed: int
    skipped: int
    seconds: float
    code: int


def run(ring: Ring) -> Result:
    """Run one ring, its output passing through, and read its report."""
    report = REPORTS / f"{ring.name}.xml"
    report.unlink(missing_ok=True)
    print(f"\n── {ring.name}: {ring.proves} (about {ring.expected_minutes:g} min) ──", flush=True)
    started = time.monotonic()
    done = subprocess.run([*ring.command, f"--junitxml={report}"], cwd=ROOT, check=False)
    seconds = time.monotonic() - started
    if not report.exists():
        return Result(ring, 0, 1, 0, seconds, done.returncode or 1)
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - our own report
    counts = [
        {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
        for suite in suites
    ]
    failed = sum(count["failures"] + count["errors"] for count in counts)
    skipped = sum(count["skipped"] for count in counts)
    passed = sum(count["tests"] for count in counts) - failed - skipped
    return Result(ring, passed, failed, skipped, seconds, done.returncode)


def main(names: list[str]) -> int:
    """Run the named rings and print the summary."""
    REPORTS.mkdir(exist_ok=True)
    known = {ring.name: ring for ring in RINGS}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no such ring: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    results = [run(known[name]) for name in names or known]
    print(f"\n{'ring':<10} {'passed':>7} {'failed':>7} {'skipped':>8} {'time':>8}")
    for item in results:
        minutes = f"{item.seconds // 60:.0f}m{item.seconds % 60:02.0f}s"
        print(
            f"{item.ring.name:<10} {item.passed:>7} {item.failed:>7} {item.skipped:>8} {minutes:>8}"
        )
    failed = sum(item.failed for item in results)
    skipped = sum(item.skipped for item in results)
    broken = [item.ring.name for item in results if item.code not in (0, 1)]
    if broken:
        print(f"did not run to their end: {', '.join(broken)}")
    if skipped and os.environ.get("CI"):
        print(f"{skipped} skipped tests count as failed in CI")
        failed += skipped
    print(f"{sum(item.passed for item in results)} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or broken or any(item.code for item in results) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
