"""What people ask for by the command line, and the exit codes that scripts go by."""

import pytest

from tests.e2e.clusters import until
from tests.e2e.lanes import Lane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def test_pause_resume_and_promote(lane: Lane) -> None:
    assert lane.cacherollout("status") == 3, "there is none yet"
    lane.hold_and_wait(soak="55s", rollbackWindow="5s")
    assert lane.cacherollout("status") == 0
    assert lane.cacherollout("pause") == 0
    lane.release_next()
    lane.reach_reason("Ready", "PausedByRequest")
    assert not lane.has_canary()
    assert lane.cacherollout("resume") == 0
    lane.reach("Analyzing")
    assert lane.cacherollout("status", "-w", "--timeout", "1") == 2
    until("the canary takes traffic", lambda: lane.watch.has_canary_endpoint)
    assert lane.cacherollout("promote") == 0
    lane.reach("Promoting", "Observing", seconds=20)
    assert lane.cacherollout("status", "-w", "--timeout", "150") == 0
    assert lane.status()["phase"] == "Succeeded"
    events = lane.events()
    assert events["PausedByRequest"] == events["Resumed"] == events["PromotionStarted"] == 1
