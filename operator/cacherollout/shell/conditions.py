"""A status that says why a pass could not be made; the core never got to decide in it.

Keeps everything that the last decision wrote, the ledger above all, and changes only what people
read: the conditions `Ready`, `Reconciling` and `Stalled`, and the sentence.
"""

from collections.abc import Mapping
from typing import Any

from cacherollout.api.reasons import ConditionType, Phase
from cacherollout.api.status import MAX_MESSAGE
from cacherollout.shell.clock import rfc3339
from cacherollout.shell.errors import Blame, Failure

_STALLED = (Blame.USER, Blame.OURS)
"""Faults that only a person can end."""


def with_failure(
    status: Mapping[str, Any],
    failure: Failure,
    before: Mapping[str, Any],
    *,
    generation: int,
    now: float,
) -> dict[str, Any]:
    """`status` with a failure in its conditions; times of transition go by `before`.

    Where `status` is what is stored already and says so, the two are equal.
    """
    is_stalled = failure.blame in _STALLED
    message = failure.message[:MAX_MESSAGE]
    wanted = {
        ConditionType.READY: "False",
        ConditionType.RECONCILING: "False" if is_stalled else "True",
        ConditionType.STALLED: "True" if is_stalled else "False",
    }
    stored = _by_type(before)
    conditions = _by_type(status)
    for kind, value in wanted.items():
        old = stored.get(kind, {})
        is_lasting = old.get("status") == value
        conditions[kind] = {
            "type": kind.value,
            "status": value,
            "reason": failure.reason.value,
            "message": message,
            "lastTransitionTime": old["lastTransitionTime"] if is_lasting else rfc3339(now),
            "observedGeneration": generation,
        }
    return {
        "phase": Phase.PENDING.value,
        **status,
        "message": message,
        "observedGeneration": max(generation, status.get("observedGeneration", 0)),
        "conditions": list(conditions.values()),
    }


def ready_reason(status: Mapping[str, Any]) -> str:
    """The reason of the condition Ready; empty where there is none."""
    return str(_by_type(status).get(ConditionType.READY, {}).get("reason", ""))


def _by_type(status: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {condition["type"]: condition for condition in status.get("conditions", [])}
