"""The studies' outcomes as tables that say at a glance what was to be reached and what was."""

from collections.abc import Sequence

import numpy as np

from benchmarks.gates.cold import Cold
from benchmarks.gates.figures import Delay, Share, table, whole
from benchmarks.gates.others import FAILURES
from benchmarks.gates.studies import RULES, STRENGTHS, Outcome, pooled, share

ARGO, FLAGGER = FAILURES
REACH = {5: 20, 15: 45}
"""Seconds to the median detection at ≥ 100 operations/s, by interval."""
FALSE = {"healthy": 0.0, "marginal": 0.001}
WRONG, WRONG_SHARED = 0.005, 0.01
FOUND = 60.0
"""Seconds within which broken lookups of a warmed canary are to be found."""
NO_ABORT, IN_TIME = "0 aborted", f"≤ {FOUND:g} s"


def false_aborts(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for outcome in outcomes:
        weather, failed = outcome.study.weather, outcome.failed()
        goal = FALSE[outcome.study.name]
        is_reached = failed.count == 0 if goal == 0 else failed.value < goal
        rows.append(
            (
                f"{outcome.study.name}, {weather.per_second:g}/s, {weather.interval:g} s",
                "0" if goal == 0 else f"< {100 * goal:g} %",
                _marked(failed, is_reached),
                *(outcome.aborted_by(name).short for name in FAILURES),
                share(np.isfinite(outcome.product.passed)).short,
                share(np.isfinite(outcome.product.held)).short,
            )
        )
    head = ("aborted in 10 minutes", "must reach", "measured", ARGO, FLAGGER, "passed", "held")
    return table(head, rows)


def delays(outcomes: Sequence[Outcome]) -> str:
    """Of canaries that are bad from the begin."""
    goals = [float(REACH[round(outcome.study.weather.interval)]) for outcome in outcomes]
    return _delays(outcomes, goals)


def late_delays(outcomes: Sequence[Outcome], at_once: Sequence[Outcome]) -> str:
    """As fast as one that is bad from the begin, and a scrape: it begins within one."""
    medians = {_kind(outcome): outcome.delay().median for outcome in at_once}
    return _delays(
        outcomes,
        [medians[_kind(outcome)] + outcome.study.weather.interval for outcome in outcomes],
    )


def _delays(outcomes: Sequence[Outcome], goals: Sequence[float]) -> str:
    rows = []
    for outcome, goal in zip(outcomes, goals, strict=True):
        found, (name, per_second, interval) = outcome.delay(), _kind(outcome)
        is_asked = per_second >= 100 and not name.startswith("HTTP")
        rows.append(
            (
                f"{name}, {per_second:g}/s, {interval:g} s",
                f"≤ {goal:g} s" if is_asked else "–",
                _marked(str(found), found.median <= goal or not is_asked),
                found.missed.short,
                *(_median(outcome.delay_of(other)) for other in FAILURES),
            )
        )
    head = ("found after", "must reach", "median (95 % interval); 95 % of them", "missed")
    return table((*head, ARGO, FLAGGER), rows)


def wrong_passes(alone: Sequence[Outcome], both: Sequence[Outcome]) -> str:
    rows = []
    for outcomes, goal, kind in ((alone, WRONG, "canary alone"), (both, WRONG_SHARED, "both")):
        for name in dict.fromkeys(outcome.study.name for outcome in outcomes):
            mine = [outcome for outcome in outcomes if outcome.study.name == name]
            worst = max((_passed(outcome) for outcome in mine), key=lambda each: each.value)
            held = [outcome for outcome in mine if outcome.study.weather.per_second >= 100]
            blamed = pooled([outcome.failed() for outcome in mine])
            rows.append(
                (
                    f"{name}, {kind}",
                    f"≤ {100 * goal:g} %",
                    _marked(pooled([_passed(outcome) for outcome in mine]), worst.value <= goal),
                    worst.short,
                    blamed.short,
                    _given_up(mine) if kind == "both" else "–",
                    " / ".join(_median(Delay(each.product.held)) for each in held)
                    if kind == "both"
                    else "–",
                )
            )
    head = ("passed though bad", "must reach", "all rates, both intervals", "worst of them")
    return table((*head, "canary blamed", "given up", "held after (≥ 100/s)"), rows)


def rules(
    hiccups: Sequence[Outcome], healthy: Sequence[Outcome], bad: Sequence[Outcome]
) -> tuple[str, str]:
    """What a hiccup does to each rule, and what each rule costs and saves."""
    intervals = list(dict.fromkeys(outcome.study.weather.interval for outcome in hiccups))
    first = [
        (
            rule.name,
            *(
                pooled(
                    [
                        outcome.failed(rule)
                        for outcome in hiccups
                        if outcome.study.weather.interval == interval
                    ]
                ).short
                for interval in intervals
            ),
        )
        for rule in RULES
    ]
    strengths = ", ".join(f"{100 * strength:g}" for strength in STRENGTHS)
    caption = f"aborted by one hiccup of {strengths} %"
    second = [
        (
            rule.name,
            *(
                " / ".join(f"{outcome.failed(rule).count}" for outcome in _at(healthy, 5, quality))
                for quality in FALSE
            ),
            *(
                " / ".join(_median(outcome.delay(rule)) for outcome in _at(bad, 5, name)[1:])
                for name in dict.fromkeys(outcome.study.name for outcome in bad)
            ),
        )
        for rule in RULES
    ]
    of = healthy[0].study.weather.runs
    names = dict.fromkeys(outcome.study.name for outcome in bad)
    return (
        table((caption, *(f"{interval:g} s" for interval in intervals)), first),
        table(
            (
                "scrapes of 5 s",
                *(f"{quality}: aborted of {of:,} at 10 / 100 / 1000/s" for quality in FALSE),
                *(f"{name}: s at 100 / 1000/s" for name in names),
            ),
            second,
        ),
    )


def cold(canaries: dict[str, tuple[str, list[Cold]]]) -> str:
    rows = []
    for name, (goal, played) in canaries.items():
        found = Delay(np.array([each.failed for each in played]))
        failed = share(np.isfinite(found.seconds))
        rows.append(
            (
                name,
                goal,
                _marked(failed, failed.count == 0) if goal == NO_ABORT else str(failed),
                _marked(_median(found), found.median <= FOUND or goal == NO_ABORT),
                "yes" if played[0].was_asked else "no",
                f"{100 * np.mean([each.hit_rate for each in played]):.0f} %",
                *(
                    share(np.array([each.failed_checks >= failures for each in played])).short
                    for failures in FAILURES.values()
                ),
            )
        )
    head = ("canary with 10 % of the traffic", "must reach", "aborted", "median", "asked")
    return table((*head, "hit rate, 1st minute", *FAILURES), rows)


def _at(outcomes: Sequence[Outcome], interval: float, name: str) -> list[Outcome]:
    return [
        outcome
        for outcome in outcomes
        if outcome.study.weather.interval == interval and outcome.study.name == name
    ]


def _kind(outcome: Outcome) -> tuple[str, float, float]:
    study = outcome.study
    return study.name, study.weather.per_second, study.weather.interval


def _passed(outcome: Outcome) -> Share:
    return share(np.isfinite(outcome.product.passed))


def _given_up(outcomes: Sequence[Outcome]) -> str:
    return pooled([share(np.isfinite(outcome.product.given_up)) for outcome in outcomes]).short


def _median(delay: Delay) -> str:
    return whole(delay.median)


def _marked(measured: Share | str, is_reached: bool) -> str:
    """With a mark that is seen where the goal is missed."""
    return f"{measured}" if is_reached else f"**{measured}** missed"
