"""The benchmark's gates are the product's: the same evidence and verdicts, tick by tick."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from benchmarks.gates import twin
from benchmarks.gates.noise import REALISTIC, Counts, Quality, Weather, observe
from benchmarks.gates.studies import HEALTHY, MARGINAL, RATIOS, REGRESSIONS
from cacherollout.api.ledger import Counters, Evidence
from cacherollout.core.gates import Verdict

RUNS = 10
ERRORS, HITS = REGRESSIONS["cache errors 1 %"], REGRESSIONS["hit rate 15 points lower"]
STRONG = replace(REALISTIC, is_certain=True, hiccup=0.5)
KINDS: dict[str, tuple[Weather, Quality, Quality, Quality | None]] = {
    "healthy": (Weather(RUNS, 400, 100, 5), HEALTHY, HEALTHY, None),
    "marginal, with a hiccup": (
        Weather(RUNS, 300, 1000, 5, noise=STRONG),
        MARGINAL,
        MARGINAL,
        None,
    ),
    "a hiccup at 7 s": (Weather(RUNS, 280, 100, 7, noise=STRONG), HEALTHY, HEALTHY, None),
    "a hiccup at 1 s": (Weather(RUNS, 60, 300, 1, noise=STRONG), HEALTHY, HEALTHY, None),
    "hardly any traffic": (Weather(RUNS, 400, 0.05, 5), ERRORS, HEALTHY, None),
    "errors": (Weather(RUNS, 200, 100, 15), ERRORS, HEALTHY, None),
    "misses, later": (Weather(RUNS, 400, 10, 5, onset=200), HITS, HEALTHY, HEALTHY),
    "both sides": (Weather(RUNS, 900, 100, 15), ERRORS, ERRORS, None),
    "nearly all fails on both": (
        Weather(RUNS, 100, 100, 5),
        Quality(0.9, 0.97, 8.0, 0.99, 0.9),
        Quality(0.9, 0.95, 8.0, 0.99, 0.9),
        None,
    ),
}


def sides(counts: Counts, run: int, tick: int) -> tuple[Counters, Counters]:
    """One tick of one run as the product is given it."""
    pairs = []
    for bad, seen in ((counts.bad, counts.seen), (counts.base_bad, counts.base_seen)):
        (misses, errors, slow, failures), (lookups, operations, timed, requests) = (
            side[:, tick, run].tolist() for side in (bad, seen)
        )
        pairs.append(Counters(lookups, misses, operations, errors, slow, timed, requests, failures))
    return pairs[0], pairs[1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_twin_agrees_with_the_product(kind: str) -> None:
    weather, canary, stable, before = KINDS[kind]
    counts = observe(np.random.default_rng(1), weather, canary, stable, before)
    ends = twin.end(RATIOS, counts, weather.interval, 300.0)
    many = twin.Twin(RATIOS, RUNS)
    known = [[Evidence(gate.name) for gate in RATIOS] for _ in range(RUNS)]
    first = [dict.fromkeys(Verdict, inf) for _ in range(RUNS)]
    for tick in range(weather.ticks):
        now = (tick + 1) * weather.interval
        many.update(
            counts.bad[:, tick],
            counts.seen[:, tick],
            counts.base_bad[:, tick],
            counts.base_seen[:, tick],
            weather.interval,
        )
        verdicts = many.verdicts(is_soaked=now >= 300)
        for run in range(RUNS):
            ours, theirs = sides(counts, run, tick)
            worst = Verdict.NOT_ASKED
            for place, gate in enumerate(RATIOS):
                evidence = gate.update(known[run][place], ours, theirs, weather.interval)
                known[run][place] = evidence
                found = gate.find(evidence, is_soaked=now >= 300, per_second=1).verdict
                assert verdicts[place, run] == found
                sums = (many.specific, many.absolute, many.fine, many.total)
                assert [each[place, run] for each in sums] == pytest.approx(
                    [evidence.canary_specific, evidence.absolute, evidence.fine, evidence.total],
                    abs=0.0002,
                )
                worst = max(worst, found)
            first[run][worst] = min(first[run][worst], now)
    for run, seen in enumerate(first):
        passed, failed = seen[Verdict.PASS], seen[Verdict.FAIL]
        decided = min(passed, failed, ends.given_up[run])
        assert ends.failed[run] == (failed if failed == decided else inf)
        assert ends.passed[run] == (passed if passed == decided else inf)
        assert ends.held[run] == (seen[Verdict.HOLD] if seen[Verdict.HOLD] < decided else inf)


def test_a_shared_trouble_is_given_up_after_the_hold_and_not_before() -> None:
    weather, canary, stable, _ = KINDS["both sides"]
    counts = observe(np.random.default_rng(2), weather, canary, stable)
    ends = twin.end(RATIOS, counts, weather.interval, 300.0)
    is_given_up = np.isfinite(ends.given_up)
    assert is_given_up.mean() > 0.8
    assert (ends.given_up - ends.held)[is_given_up].min() >= 300
