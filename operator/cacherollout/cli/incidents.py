"""The incident report: what a release that was undone did, for those who were not there.

Made from the rollout as stored and its Events, so that it can be read long after the pods are gone.
Pure: it reads nothing and knows no cluster.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cacherollout.adapters.kube.times import rfc3339
from cacherollout.api.ledger import Abort, Attempt, Ledger, Traffic
from cacherollout.cli.views import duration
from cacherollout.core.counting import hit_rate
from cacherollout.core.passes import number_of_pods
from cacherollout.core.rollback import failed_requests

_HELP: Final = "docs/troubleshooting.md"
_NEXT: Final = {
    True: (
        "The Deployment still asks for this release and is held. Deploy a corrected one, which is "
        "tried by itself, or try the same again with `kubectl cacherollout retry {name}`."
    ),
    False: "The release was not found bad: deployed again, it is tried again.",
}
_MEMBERS: Final = {
    "cacheHitRate": "lookups that missed",
    "cacheErrorRate": "cache operations that failed",
    "cacheLatency": "slow cache operations",
    "httpErrorRate": "requests answered with 5xx",
}


def incident(name: str, namespace: str, ledger: Ledger, events: Iterable[Mapping[str, Any]]) -> str:
    """The report in Markdown; LookupError where no release was undone."""
    attempt = ledger.undone
    if attempt is None or attempt.abort is None:
        raise LookupError(f"No release of {name} was undone since it was adopted.")
    abort = attempt.abort
    parts = [
        f"# {attempt.release.version} of {name} was rolled back",
        _facts(namespace, attempt, abort),
        "## What happened",
        f"{_sentence(abort.message)} {_cost(attempt, abort)}",
        "## When",
        _table(("time (UTC)", "after", "what"), _moments(attempt, abort)),
    ]
    if abort.judgements:
        parts += ["## What the gates said at the decision", _gates(abort)]
    parts += ["## What was seen on both sides at the decision", _sides(attempt, abort)]
    counted = _counted(attempt)
    if counted:
        parts += ["## Counted on the canary", counted]
    said = _events(events, attempt.started_at)
    if said:
        parts += ["## Events", said]
    next_ = _NEXT[abort.is_rejected].format(name=name)
    parts += ["## What to do", f"{next_} `{abort.reason}` is explained in {_HELP}."]
    return "\n\n".join(parts) + "\n"


def _facts(namespace: str, attempt: Attempt, abort: Abort) -> str:
    stable = abort.stable_version or "the stable version"
    number, revision = attempt.number, attempt.release.revision
    return "\n".join(
        (
            f"- namespace `{namespace}`, attempt {number}, revision `{revision}`",
            f"- reason `{abort.reason}`, decided {_clock(abort.at)}",
            f"- {stable} served before, meanwhile and after",
        )
    )


def _cost(attempt: Attempt, abort: Abort) -> str:
    if attempt.traffic_since is None:
        return "No user reached it: it never took traffic."
    took = duration(abort.at - attempt.traffic_since)
    where = number_of_pods(attempt.admitted, "canary")
    if attempt.promote_at is not None:
        where += " and on those that its promotion had reached"
    return f"It took traffic for {took} on {where}; {failed_requests(attempt):,.0f} of its requests failed."


def _moments(attempt: Attempt, abort: Abort) -> list[tuple[str, ...]]:
    known = (
        (attempt.started_at, "the release was found, its canary started"),
        (attempt.warmed_at, "its cache namespace was warm"),
        (attempt.traffic_since, "the first canary pod took traffic"),
        (attempt.promote_at, "its promotion began"),
        (attempt.promoted_at, "every pod ran it"),
        (abort.at, f"the roll-back was decided: {abort.reason}"),
        (abort.undone_at, "nothing of it ran any more"),
    )
    return [
        (_clock(at), duration(at - attempt.started_at), what)
        for at, what in sorted((at, what) for at, what in known if at is not None)
    ]


def _gates(abort: Abort) -> str:
    return _table(
        ("gate", "verdict", "measured", "healthy", "evidence", "why"),
        [
            (
                item.gate,
                f"**{item.verdict}**" if item.verdict in ("Fail", "Hold") else item.verdict,
                item.value,
                item.target,
                f"{item.evidence * 100:.0f} %",
                item.message,
            )
            for item in abort.judgements
        ],
    )


def _sides(attempt: Attempt, abort: Abort) -> str:
    stable, canary = attempt.stable_traffic, attempt.canary_traffic
    rows = [
        ("requests per second", f"{stable.requests:,.1f}", f"{canary.requests:,.1f}"),
        ("hit rate", _hit_rate(stable), _hit_rate(canary)),
        ("requests that failed", *_both(stable, canary, "failures", "requests")),
        ("cache operations that failed", *_both(stable, canary, "errors", "operations")),
        ("slow cache operations", *_both(stable, canary, "slow", "timed")),
    ]
    sides = _table(("", abort.stable_version or "stable", attempt.release.version), rows)
    if abort.origin_ratio is None:
        return sides
    return f"{sides}\n\nThe database had {abort.origin_ratio:.2f}× of its normal load."


def _both(stable: Traffic, canary: Traffic, bad: str, total: str) -> tuple[str, str]:
    def share(side: Traffic) -> str:
        of: float = getattr(side, total)
        return f"{100 * getattr(side, bad) / of:.2f} %" if of else "–"

    return share(stable), share(canary)


def _hit_rate(side: Traffic) -> str:
    share = hit_rate(side)
    return f"{100 * share:.1f} %" if share is not None else "–"


def _counted(attempt: Attempt) -> str:
    return "\n".join(
        f"- {item.bad:,.0f} of {item.total:,.0f} {_MEMBERS.get(item.name, item.name)}"
        for item in attempt.evidence
        if item.total
    )


def _events(events: Iterable[Mapping[str, Any]], since: float) -> str:
    """Events from the attempt's start on, oldest first."""
    rows = sorted(
        (str(event.get("lastTimestamp") or ""), str(event["reason"]), str(event["message"]))
        for event in events
    )
    first = rfc3339(since)
    return "\n".join(
        f"- {at[11:19]} `{reason}` {message}" for at, reason, message in rows if at >= first
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
