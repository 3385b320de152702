"""The sequential test: the verdicts of the reference, and what no data may ever do."""

from math import log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacherollout.api.ledger import Counters, Evidence
from cacherollout.core.counting import Tick
from cacherollout.core.gates import EVIDENCE, RatioGate, Verdict, gather, ratio_gates
from tests.factories import SPEC, attempt, counters, spec

GATES = {gate.name: gate for gate in ratio_gates(SPEC)}
ERRORS = GATES["httpErrorRate"]


class Reference:
    """The test as it was written down and simulated first, independent of the product."""

    def __init__(self, target: float, alert: float) -> None:
        self.target, self.alert = target, alert
        self.specific = self.absolute = self.fine = 0.0
        self.history: list[tuple[float, float]] = []

    def update(
        self, bad: float, seen: float, base_bad: float, base_seen: float, seconds: float
    ) -> None:
        self.history = [*self.history, (base_bad, base_seen)][-5:]
        if seen <= 0:
            return
        window = [sum(column) for column in zip(*self.history, strict=True)]
        guard = max(self._bound(*window), self._bound(base_bad, base_seen))
        floor = max(self.target, 1.25 * guard)
        cap = EVIDENCE / 3 if seconds > 22 / 3 else EVIDENCE * seconds / 22
        if floor < 0.9:
            self.specific = max(0.0, self.specific + min(self._llr(bad, seen, floor), cap))
        plain = self._llr(bad, seen, self.target)
        self.absolute = max(0.0, self.absolute + min(plain, cap))
        self.fine = min(self.fine + max(plain, -cap), EVIDENCE)

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
    "both sides bad, then both well": ((*(BOTH_BAD,) * 5, *(HEALTHY,) * 12), Verdict.PASS),
    "well for long, then bad": ((*(HEALTHY,) * 100, *(BAD,) * 3), Verdict.FAIL),
    "a bad tick among good ones": ((*(HEALTHY,) * 10, BAD, *(HEALTHY,) * 12), Verdict.PASS),
    "good ticks with silence between": ((HEALTHY, SILENT) * 10, Verdict.PASS),
}


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_series_of_ticks_has_its_verdict(sequence: str) -> None:
    ticks, verdict = SEQUENCES[sequence]
    assert run(ERRORS, *ticks) is verdict


@pytest.mark.parametrize(
    ("seconds", "conclusive"),
    [(1.0, 22), (2.0, 11), (5.0, 5), (5.2, 5), (4.8, 5), (10, 3), (60, 3)],
)
def test_a_hiccup_shorter_than_the_shortest_proof_is_not_conclusive_at_any_interval(
    seconds: float, conclusive: int
) -> None:
    def verdict(ticks: int) -> Verdict:
        return run(ERRORS, *((900, 900, 0, 9000),) * ticks, seconds=seconds)

    assert verdict(conclusive - 1) is Verdict.UNDECIDED
    # Stored evidence is rounded, so that the last tick may fall short by a hair.
    assert verdict(conclusive + (seconds < 5)) is Verdict.FAIL


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
