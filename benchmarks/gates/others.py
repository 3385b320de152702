"""What rules of the kind "n failed checks" make of the same counts.

A check reads a window of 60 s every 60 s and fails where any figure is beyond its target or nothing
was counted; failed checks add up and are never forgotten. That is Argo Rollouts with
`failureLimit: 3`, where the fourth failure aborts, and Flagger with `threshold: 5`. They are spared
the HTTP errors, which would only add false alarms: three figures, as in the method's first study.
"""

import numpy as np

from benchmarks.gates.noise import Array, Counts
from cacherollout.core.gates import RatioGate

WINDOW_SECONDS = 60.0
FIGURES = 3
FAILURES = {"Argo-style": 4, "Flagger-style": 5}
"""Failed checks that abort."""


def aborted(ratios: tuple[RatioGate, ...], counts: Counts, interval: float, failures: int) -> Array:
    """Seconds at which each run is aborted; infinity where it is not.

    The 95th percentile exceeds its limit exactly where more than 5 % of operations are slower,
    which a bucket boundary at the limit counts.
    """
    per_window = round(WINDOW_SECONDS / interval)
    windows = counts.bad.shape[1] // per_window
    bad, seen = (
        side[:FIGURES, : windows * per_window].reshape(FIGURES, windows, per_window, -1).sum(axis=2)
        for side in (counts.bad, counts.seen)
    )
    targets = np.array([gate.target for gate in ratios[:FIGURES]])[:, None, None]
    is_failed = ((bad > targets * seen) | (seen == 0)).any(axis=0)
    is_over = np.cumsum(is_failed, axis=0) >= failures
    first = (np.argmax(is_over, axis=0) + 1) * WINDOW_SECONDS
    return np.where(is_over.any(axis=0), first, np.inf)
