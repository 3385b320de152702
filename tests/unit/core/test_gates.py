"""The sequential test: the verdicts of the reference, and what no data may ever do."""

import json
from math import log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacherollout.api.ledger import Attempt, Counters, Evidence, Ledger, dump_ledger, load_ledger
from cacherollout.core.counting import Tick, count
from cacherollout.core.facts import Measurement
from cacherollout.core.gates import EVIDENCE, RatioGate, Verdict, gather, ratio_gates
from tests.factories import NOW, SPEC, attempt, counters, measurement, spec

GATES = {gate.name: gate for gate in ratio_gates(SPEC)}
ERRORS = GATES["httpErrorRate"]


class Reference:
    """The test as it was written down and simulated first, independent of the product."""

    def __init__(self, target: float, alert: float) -> None:
        self.target, self.alert = target, alert
        self.specific = self.absolute = self.fine = 0.0
        self.history: list[tuple[float, float]] = []
        self.now = 0.0
        self.past: list[tuple[float, float, float]] = []

    def update(
        self, bad: float, seen: float, base_bad: float, base_seen: float, seconds: float
    ) -> None:
        self.history = [*self.history, (base_bad, base_seen)][-5:]
        began, self.now = self.now, self.now + seconds
        self.past.append((self.now, self.specific, self.absolute))
        within = [past for past in self.past if past[0] > began - 14.5 + 1e-9]
        if seen <= 0:
            return
        window = [sum(column) for column in zip(*self.history, strict=True)]
        guard = max(self._bound(*window), self._bound(base_bad, base_seen))
        floor = max(self.target, 1.25 * guard)
        half = EVIDENCE / 2
        wanted = self.specific + (self._llr(bad, seen, floor) if floor < 0.9 else 0.0)
        stood = [past[1] for past in within]
        self.specific = max(0.0, max(stood) - half, min(wanted, min(stood) + half))
        plain = self._llr(bad, seen, self.target)
        stood = [past[2] for past in within]
        self.absolute = max(0.0, max(stood) - half, min(self.absolute + plain, min(stood) + half))
        self.fine = min(self.fine + max(plain, -log(1000) / 2), EVIDENCE)

    def verdict(self, *, is_soaked: bool) -> Verdict:
        if self.specific >= EVIDENCE:
            return Verdict.FAIL
        if self.absolute >= EVIDENCE:
            return Verdict.HOLD
        is_calm = max(self.specific, self.absolute) < EVIDENCE / 2
        if self.fine <= -log(1000) and is_soaked and is_calm:
            return Verdict.PASS
        return Verdict.UNDECIDED

    @staticmethod
    def _bound(bad: float, seen: float) -> float:
        return max(0.0, bad - 2 * sqrt(bad)) / seen if seen else 0.0

    def _llr(self, bad: float, seen: float, floor: float) -> float:
        def odds(share: float) -> float:
            return share / (1 - share)

        moved = odds(floor) * sqrt(odds(self.alert) / odds(self.target))
        test = moved / (1 + moved)
        return bad * log(test / floor) + (seen - bad) * log((1 - test) / (1 - floor))


def side(bad: float, seen: float) -> Counters:
    """Counters in which every gate sees so many bad ones of so many."""
    return Counters(
        lookups=seen,
        misses=bad,
        operations=seen,
        errors=bad,
        timed=seen,
        slow=bad,
        requests=seen,
        failures=bad,
    )


SIDES = st.integers(0, 3000).flatmap(lambda seen: st.tuples(st.integers(0, seen), st.just(seen)))


SECONDS = st.sampled_from((1.0, 5.0, 8.0, 9.0, 15.0, 60.0))


@given(
    name=st.sampled_from(sorted(GATES)),
    ticks=st.lists(st.tuples(SIDES, SIDES, st.booleans(), SECONDS), min_size=1, max_size=30),
)
@settings(max_examples=150, deadline=None)
def test_the_verdicts_are_those_of_the_reference(
    name: str, ticks: list[tuple[tuple[int, int], tuple[int, int], bool, float]]
) -> None:
    gate = GATES[name]
    reference, known = Reference(gate.target, gate.alert), Evidence(name)
    for (bad, seen), (base_bad, base_seen), is_soaked, seconds in ticks:
        known = gate.update(known, side(bad, seen), side(base_bad, base_seen), seconds)
        reference.update(bad, seen, base_bad, base_seen, seconds)
        found = gate.find(known, is_soaked=is_soaked, per_second=10)
        assert known.canary_specific == pytest.approx(reference.specific, abs=0.01)
        near = min(
            abs(reference.specific - EVIDENCE),
            abs(reference.absolute - EVIDENCE),
            abs(reference.fine + log(1000)),
            abs(max(reference.specific, reference.absolute) - EVIDENCE / 2),
        )
        if near > 0.01 and known.total:
            assert found.verdict is reference.verdict(is_soaked=is_soaked)


def run(
    gate: RatioGate,
    *ticks: tuple[float, float, float, float],
    known: Evidence | None = None,
    is_soaked: bool = True,
    seconds: float = 15.0,
) -> Verdict:
    """The verdict after ticks of (bad, seen, bad, seen) on canary and stable side."""
    known = known or Evidence(gate.name)
    for bad, seen, base_bad, base_seen in ticks:
        known = gate.update(known, side(bad, seen), side(base_bad, base_seen), seconds)
    return gate.find(known, is_soaked=is_soaked, per_second=100).verdict


HEALTHY, BAD, BOTH_BAD, SILENT = (
    (0, 900, 0, 9000),
    (45, 900, 0, 9000),
    (45, 900, 450, 9000),
    (
        0,
        0,
        0,
        9000,
    ),
)
SEQUENCES = {
    "nothing counted": ((), Verdict.NO_DATA),
    "only the stable side has traffic": ((SILENT,) * 50, Verdict.NO_DATA),
    "one good tick": ((HEALTHY,), Verdict.UNDECIDED),
    "many good ticks": ((HEALTHY,) * 10, Verdict.PASS),
    "one bad tick": ((BAD,), Verdict.UNDECIDED),
    "one very bad tick": (((900, 900, 0, 9000),), Verdict.UNDECIDED),
    "two bad ticks": ((BAD,) * 2, Verdict.UNDECIDED),
    "three bad ticks": ((BAD,) * 3, Verdict.FAIL),
    "both sides bad": ((BOTH_BAD,) * 5, Verdict.HOLD),
    "both sides bad, well for a moment": ((*(BOTH_BAD,) * 6, HEALTHY), Verdict.HOLD),
    "both sides bad, then both well": ((*(BOTH_BAD,) * 5, *(HEALTHY,) * 12), Verdict.PASS),
    "well for long, then bad": ((*(HEALTHY,) * 100, *(BAD,) * 3), Verdict.FAIL),
    "a bad tick among good ones": ((*(HEALTHY,) * 10, BAD, *(HEALTHY,) * 12), Verdict.PASS),
    "good ticks with silence between": ((HEALTHY, SILENT) * 10, Verdict.PASS),
}


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_series_of_ticks_has_its_verdict(sequence: str) -> None:
    ticks, verdict = SEQUENCES[sequence]
    assert run(ERRORS, *ticks) is verdict


TOUCHED = {
    1: 16,
    2: 9,
    3: 6,
    4: 5,
    4.9: 4,
    5: 4,
    5.2: 4,
    6: 4,
    7: 4,
    8: 3,
    10: 3,
    14: 3,
    15: 2,
    60: 2,
}
"""Ticks of so many seconds that a hiccup of 15 s can touch, by interval."""


@pytest.mark.parametrize("seconds", TOUCHED)
def test_the_first_tick_that_no_hiccup_can_touch_is_conclusive(seconds: float) -> None:
    def verdict(ticks: int) -> Verdict:
        return run(ERRORS, *((900, 900, 0, 9000),) * ticks, seconds=seconds)

    assert verdict(TOUCHED[seconds]) is Verdict.UNDECIDED
    assert verdict(TOUCHED[seconds] + 1) is Verdict.FAIL


@given(
    seconds=st.sampled_from((1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 60)),
    phase=st.floats(0, 1, exclude_max=True),
    share=st.floats(0.001, 1),
    per_second=st.sampled_from((10, 100, 1000, 100_000)),
)
def test_no_hiccup_is_conclusive_whatever_its_moment_strength_and_interval(
    seconds: int, phase: float, share: float, per_second: int
) -> None:
    began, seen = 4 * seconds + phase * seconds, per_second * seconds
    known = Evidence(ERRORS.name)
    for tick in range(24):
        opened = tick * seconds
        within = min(began + 15, opened + seconds) - max(began, opened)
        bad = share * per_second * max(0.0, within)
        known = ERRORS.update(known, side(bad, seen), side(0, 9 * seen), seconds)
        verdict = ERRORS.find(known, is_soaked=False, per_second=per_second).verdict
        assert verdict is Verdict.UNDECIDED


def test_silence_between_bad_ticks_is_time_that_passed() -> None:
    """The reach of a hiccup is time that passed, so silence between two of them counts."""
    bad, silent = (900, 900, 0, 9000), (0, 0, 0, 9000)
    assert run(ERRORS, *(bad,) * 4, *(silent,) * 3, bad, seconds=5) is Verdict.FAIL
    assert run(ERRORS, bad, *(silent,) * 3, bad, seconds=5) is Verdict.FAIL
    assert run(ERRORS, bad, *(silent,) * 2, bad, seconds=5) is Verdict.UNDECIDED


def test_nothing_passes_before_the_soak() -> None:
    assert run(ERRORS, *(HEALTHY,) * 10, is_soaked=False) is Verdict.UNDECIDED


@given(bad=st.integers(0, 10**6), base=SIDES)
def test_a_single_tick_never_fails_nor_holds_nor_passes(bad: int, base: tuple[int, int]) -> None:
    for gate in GATES.values():
        assert run(gate, (bad, 10**6, *base)) is Verdict.UNDECIDED


@given(st.lists(SIDES, max_size=60))
def test_no_data_is_never_evidence(stable: list[tuple[int, int]]) -> None:
    known = Evidence("httpErrorRate")
    for base_bad, base_seen in stable:
        known = ERRORS.update(known, Counters(), side(base_bad, base_seen), 15)
    assert (known.canary_specific, known.absolute, known.fine, known.total) == (0, 0, 0, 0)


def test_without_a_stable_side_the_target_alone_counts() -> None:
    known = Evidence(ERRORS.name)
    for _ in range(3):
        known = ERRORS.update(known, side(45, 900), None, 15)
    assert ERRORS.find(known, is_soaked=True, per_second=1).verdict is Verdict.FAIL


def test_more_bad_than_seen_counts_as_all_bad() -> None:
    known = ERRORS.update(Evidence(ERRORS.name), Counters(requests=5, failures=50), None, 15)
    assert known.bad == 5


@pytest.mark.parametrize("share", [0.5, 0.7, 0.75, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("name", GATES)
def test_whatever_share_both_sides_fail_alike_nobody_is_blamed(name: str, share: float) -> None:
    tick = (900 * share, 900, 9000 * share, 9000)
    assert run(GATES[name], *(tick,) * 20) is Verdict.HOLD


def test_the_time_to_a_verdict_is_told() -> None:
    known = ERRORS.update(Evidence(ERRORS.name), side(0, 100), side(0, 900), 15)
    found = ERRORS.find(known, is_soaked=True, per_second=100)
    assert found.eta_seconds == pytest.approx(31, abs=2)
    assert ERRORS.eta(known, 0) is None
    assert ERRORS.eta(known, 1) == pytest.approx(100 * (found.eta_seconds or 0))


def test_the_words_say_what_was_counted() -> None:
    known = ERRORS.update(Evidence(ERRORS.name), side(45, 900), side(0, 9000), 15)
    found = ERRORS.find(known, is_soaked=True, per_second=100)
    assert found.message.startswith("45 of 900 requests were answered with a 5xx status")
    assert found.value == "5 %"
    assert found.target == "≤ 0.1 %"
    assert 0 < found.evidence < 1


def test_evidence_that_was_stored_and_read_again_goes_on_as_if_nothing_had_happened() -> None:
    """The operator may be restarted between any two ticks."""
    through = stored = attempt()
    for bad in (0, 3, 90, 80, 0, 70, 90, 60, 0, 1):
        tick = Tick(5.0, side(bad, 900), side(bad / 2, 9000))
        through, stored = gather(SPEC, through, tick), gather(SPEC, stored, tick)
        written = json.loads(json.dumps(dump_ledger(Ledger(attempt=stored))))
        read = load_ledger(written).attempt
        assert read is not None
        stored = read
    assert stored.evidence == through.evidence
    assert any(item.canary_specific > 0 for item in stored.evidence)


@given(
    st.lists(st.tuples(st.integers(0, 900), st.sampled_from(("kept", "lost", "repeated")))),
)
def test_whatever_is_lost_or_seen_again_every_request_counts_once(
    passes: list[tuple[int, str]],
) -> None:
    """A pass whose ledger was not written never was; what it counted comes with the next."""

    def counted_in(stored: Attempt, scrape: Measurement) -> Attempt:
        after, tick = count(stored, scrape, frozenset({"uid-canary-1"}), frozenset())
        return gather(SPEC, after, tick) if tick is not None else after

    stored, now, requests, kept = attempt(), NOW, 1000.0, 1000.0
    stored = counted_in(stored, measurement(now, canary_1=side(requests / 2, requests)))
    for number, fate in passes:
        now, requests = now + 5, requests + number
        scrape = measurement(now, canary_1=side(requests / 2, requests))
        after = counted_in(stored, scrape)
        if fate == "lost":
            continue
        stored, kept = after, requests
        if fate == "repeated":
            assert counted_in(stored, scrape) == stored
    seen = [(item.total, item.bad) for item in stored.evidence]
    assert seen in ([], [(kept - 1000, (kept - 1000) / 2)] * len(GATES))
    assert seen or kept == 1000 or all(fate == "lost" for _, fate in passes)


def test_a_tick_enters_every_gate_once() -> None:
    tick = Tick(5.0, counters(), counters(requests=900, operations=1800))
    after = gather(SPEC, attempt(), tick)
    assert [item.name for item in after.evidence] == list(GATES)
    assert [item.total for item in after.evidence] == [200, 200, 200, 100]
    assert all(item.baseline_total[-1] > 0 for item in after.evidence)
    alone = gather(SPEC, attempt(), Tick(5.0, counters(), Counters()))
    assert all(item.baseline_total == (0.0,) for item in alone.evidence)


def test_the_figures_are_the_users() -> None:
    loose = spec(gates={"httpErrorRate": {"target": "10%", "alert": "50%"}})
    gate = next(gate for gate in ratio_gates(loose) if gate.name == "httpErrorRate")
    assert run(gate, *(BAD,) * 5) is Verdict.PASS


def test_verdicts_are_spelled_for_people() -> None:
    assert [verdict.label for verdict in Verdict] == [
        "NotAsked",
        "Pass",
        "Undecided",
        "NoData",
        "Error",
        "Hold",
        "Fail",
    ]
