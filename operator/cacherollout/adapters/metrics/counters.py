"""From the series of one page to the counters that the gates judge."""

import math

from cacherollout.adapters.metrics.exposition import Page, Series, UnusablePageError
from cacherollout.adapters.metrics.names import MetricNames
from cacherollout.api.ledger import Counters
from cacherollout.core.facts import PodMeasurement

_HIT = "hit"
_ERROR = "error"


def count_page(
    page: Page, names: MetricNames, *, uid: str, version: str, slow_above_seconds: float
) -> PodMeasurement:
    """Counters of the pod `uid`, which runs cache version `version`.

    Raises UnusablePageError where the page breaks the contract.
    """
    if not page.declared:
        expected = ", ".join(sorted(names.on_page()))
        raise UnusablePageError(f"the page has none of {expected}")
    answered = [
        (_label(one, names.lookups, "result"), one)
        for one in page.of(names.lookups)
        if one.labels.get("result") != _ERROR
    ]
    timed, slow = _timed(page.of(names.buckets), names, slow_above_seconds)
    requests = page.of(names.requests)
    counters = Counters(
        lookups=_total([one for _, one in answered]),
        misses=_total([one for result, one in answered if result != _HIT]),
        operations=_total(page.of(names.operations)),
        errors=_total(page.of(names.errors)),
        slow=slow,
        timed=timed,
        requests=_total(requests),
        failures=_total(
            [one for one in requests if _label(one, names.requests, "status").startswith("5")]
        ),
        origin=_total(page.of(names.origin)),
    )
    foreign = [one for _, one in answered if _label(one, names.lookups, "version") != version]
    return PodMeasurement(uid=uid, counters=counters, foreign_lookups=_total(foreign))


def _total(series: list[Series]) -> float:
    return math.fsum(one.value for one in series)


def _label(one: Series, name: str, label: str) -> str:
    try:
        return one.labels[label]
    except KeyError:
        raise UnusablePageError(f"a series of {name} has no label {label!r}") from None


def _timed(
    buckets: list[Series], names: MetricNames, slow_above_seconds: float
) -> tuple[float, float]:
    """Operations timed, and those above the bound.

    Counting above a bucket's bound is exact; a quantile would interpolate. Where the wanted bound is
    not a bucket the next larger one is taken, which never calls a fast operation slow.
    """
    groups: dict[frozenset[tuple[str, str]], dict[float, float]] = {}
    for one in buckets:
        rest = frozenset((key, value) for key, value in one.labels.items() if key != "le")
        groups.setdefault(rest, {})[_bound(_label(one, names.buckets, "le"))] = one.value
    timed = slow = 0.0
    for by_bound in groups.values():
        # Bounds are decimal text and the wanted one a product: equal up to the last bit.
        finite = [
            bound for bound in by_bound if slow_above_seconds * (1 - 1e-9) <= bound < math.inf
        ]
        if math.inf not in by_bound or not finite:
            raise UnusablePageError(
                f"{names.buckets} lacks the bucket +Inf or one at {slow_above_seconds:g}; "
                f"add le={slow_above_seconds:g} to the histogram's buckets"
            )
        count, within = by_bound[math.inf], by_bound[min(finite)]
        if within > count:
            raise UnusablePageError(f"{names.buckets} counts more below a bound than altogether")
        timed += count
        slow += count - within
    return timed, slow


def _bound(text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise UnusablePageError(f"the bucket bound {text[:24]!r} is not a number")
    return bound
