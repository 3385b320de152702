"""The demo: a good release is warmed, judged and promoted; a broken one is caught and undone.

`make demo` runs it; `make demo-plain` shows the good release as a plain rolling update instead.
Exit code 0 only if v3 was promoted, v4 undone, and no user met a broken answer after the abort.
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp
import shop
from commands import DemoError, Programs, find_programs
from sampling import Sample, Sampler, proxied
from sizing import HEADROOM, Meter
from telling import Narrator, Outcome, lowest_hit_rate, table

_BASELINE_SECONDS = 12.0
_AFTER_SECONDS = 5.0
_LONGEST_SECONDS = 240.0
_PLAIN_SECONDS = 90.0
_PEAK_SAMPLES = 5
_ENDS = {"Succeeded", "RolledBack"}
_SETTLING_SECONDS = 0.65 * shop.TTL_SECONDS
_STEADY_SAMPLES = 12
_STEADY_SPREAD = 0.03
_LEAST_HIT_RATE = 0.5


def _now() -> float:
    return time.time()  # noqa: TID251 - compared with the times that the cluster reports


def main() -> int:
    """Parse the arguments and run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plain", action="store_true", help="a plain rolling update instead")
    parser.add_argument("--cluster", default="crnode", help="name of the cluster to run on")
    arguments = parser.parse_args()
    narrator = Narrator()
    try:
        return asyncio.run(
            _demo(find_programs(arguments.cluster), narrator, is_plain=arguments.plain)
        )
    except DemoError as error:
        narrator.say(str(error), "red")
        return 1


async def _demo(programs: Programs, narrator: Narrator, *, is_plain: bool) -> int:
    _set_up(programs, narrator, is_plain=is_plain)
    async with proxied(programs) as base, aiohttp.ClientSession() as session:
        sampler = Sampler(base, session)
        async with _sampling(sampler):
            await _wait_for_load(sampler, narrator, Meter(programs, sampler))
            if is_plain:
                return await _plain(programs, narrator, sampler)
            return await _gated(programs, narrator, sampler)


def _set_up(programs: Programs, narrator: Narrator, *, is_plain: bool) -> None:
    narrator.title("A shop: PostgreSQL, Redis, an API with 6 replicas, and its users")
    steps: list[tuple[str, Callable[[Programs], object]]] = [
        ("Leftovers of an earlier run are removed.", shop.clear),
        ("The operator is installed by its Helm chart, for namespace shop only.",
         shop.install_operator),
        ("PostgreSQL and Redis start.", shop.install_stores),
        ("The API starts: release v2, 6 replicas, keys like user:v1:42.", shop.install_api),
        ("Users arrive, a few percent of them write.", shop.start_load),
    ]  # fmt: skip
    for text, step in steps:
        narrator.say(text)
        step(programs)
    if not is_plain:
        narrator.say("A CacheRollout takes the Deployment under its hold. Soak and window are")
        narrator.say("scaled down (20 s and 15 s instead of 5 and 15 min), nothing else is.")
        shop.hold(programs)


@contextlib.asynccontextmanager
async def _sampling(sampler: Sampler) -> AsyncIterator[None]:
    task = asyncio.create_task(sampler.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _wait_for_load(sampler: Sampler, narrator: Narrator, meter: Meter) -> None:
    """Until the cache is warm: the hit rate no longer rises. Then the database is sized."""
    narrator.say("The cache warms up by itself, as it would in any shop.")
    started = time.monotonic()
    with narrator.live() as live:
        while time.monotonic() - started < _LONGEST_SECONDS:
            await asyncio.sleep(1)
            users = await sampler.users(_now() - 10)
            await meter.read()
            began = users.get("running_since") or _now()
            taken = sampler.samples.between(began + _SETTLING_SECONDS, _now())
            rates = [sample.hit_rate for sample in taken if sample.hit_rate is not None]
            live.update(narrator.line({}, users))
            if len(rates) < _STEADY_SAMPLES:
                continue
            early, late = _halves(rates[-_STEADY_SAMPLES:])
            used = meter.millicores(since=began + _SETTLING_SECONDS)
            is_steady = late > _LEAST_HIT_RATE and abs(late - early) < _STEADY_SPREAD
            if is_steady and used is not None:
                narrator.say(f"Steady: {late * 100:.0f} % of lookups hit the cache.")
                allowed = meter.limit(used)
                narrator.say(
                    f"PostgreSQL uses {used}m of a core; its limit becomes {allowed}m, so "
                    f"that {100 / HEADROOM:.0f} % of it are used at rest."
                )
                return
    raise DemoError("The load never became steady; is the machine busy with something else?")


def _halves(values: list[float]) -> tuple[float, float]:
    """Means of the first and of the second half."""
    middle = len(values) // 2
    return _mean(values[:middle]), _mean(values[middle:])


async def _gated(programs: Programs, narrator: Narrator, sampler: Sampler) -> int:
    await _follow_until(sampler, narrator, {"Idle"})
    narrator.title("Release v3: the users' schema changes, so the cache needs a new version")
    good = await _release(sampler, narrator, programs, "v3", shop.release_v3)
    narrator.title("Release v4: it stores values that it cannot read back")
    bad = await _release(sampler, narrator, programs, "v4 (broken)", shop.release_broken)
    narrator.console.print()
    narrator.console.print(table([good, bad]))
    is_good = (
        good.phase == "Succeeded"
        and bad.phase == "RolledBack"
        and good.broken == bad.broken == 0
        and bad.bad_after_abort == 0
    )
    verdict = "as it must" if is_good else "NOT as it must"
    narrator.say(f"v3 ended as {good.phase}, v4 as {bad.phase}: {verdict}.",
                 "bold green" if is_good else "bold red")  # fmt: skip
    return 0 if is_good else 1


async def _plain(programs: Programs, narrator: Narrator, sampler: Sampler) -> int:
    narrator.title("The same release as a plain rolling update, with the same version bump")
    start, before = await _baseline(sampler)
    narrator.typed(shop.release_plain(programs))
    with narrator.live() as live:
        while _now() - start - _BASELINE_SECONDS < _PLAIN_SECONDS:
            users = await sampler.users(start + _BASELINE_SECONDS)
            live.update(narrator.line({}, users))
            await asyncio.sleep(1)
    outcome = await _outcome(sampler, "v3, plain", start + _BASELINE_SECONDS, before, {})
    narrator.console.print(table([outcome]))
    return 0


async def _baseline(sampler: Sampler) -> tuple[float, list[Sample]]:
    start = _now()
    await asyncio.sleep(_BASELINE_SECONDS)
    return start, sampler.samples.between(start, _now())


async def _release(
    sampler: Sampler,
    narrator: Narrator,
    programs: Programs,
    title: str,
    release: Callable[[Programs], str],
) -> Outcome:
    _, before = await _baseline(sampler)
    start = _now()
    narrator.typed(release(programs))
    rollout = await _follow_until(sampler, narrator, _ENDS, since=start)
    await asyncio.sleep(_AFTER_SECONDS)
    return await _outcome(sampler, title, start, before, rollout)


async def _follow_until(
    sampler: Sampler, narrator: Narrator, phases: set[str], since: float | None = None
) -> dict[str, Any]:
    """Tell every new phase and event until one of these phases is reached."""
    told, started = "", time.monotonic()
    users_since = since or _now()
    with narrator.live() as live:
        while time.monotonic() - started < _LONGEST_SECONDS:
            rollout = await sampler.rollout()
            status = rollout.get("status") or {}
            users = await sampler.users(users_since)
            live.update(narrator.line(rollout, users))
            phase = status.get("phase", "")
            is_new = since is None or _has_begun(status, since)
            if is_new and phase != told:
                narrator.say(f"{phase}: {status.get('message', '')}")
                told = phase
            if is_new and phase in phases:
                return rollout
            await asyncio.sleep(0.5)
    raise DemoError(f"The rollout did not reach {' or '.join(sorted(phases))}; it says: {told}")


def _has_begun(status: dict[str, Any], since: float) -> bool:
    """Whether the attempt that the status speaks of began after a moment."""
    timeline = status.get("timeline") or []
    return bool(timeline) and _seconds(timeline[0]["at"]) >= since - 1.5


async def _outcome(
    sampler: Sampler, title: str, start: float, before: list[Sample], rollout: dict[str, Any]
) -> Outcome:
    end = _now()
    users = await sampler.users(start)
    during = sampler.samples.between(start, end)
    status = rollout.get("status") or {}
    timeline = [(item["phase"], _seconds(item["at"])) for item in status.get("timeline", [])]
    phases = tuple(
        (phase, until - at)
        for (phase, at), (_, until) in pairwise([*timeline, ("", end)])
        if phase not in _ENDS
    )
    finished = timeline[-1][1] if timeline else end
    aborted = next((at for phase, at in timeline if phase == "RollingBack"), None)
    spans = _spans(users, title)
    return Outcome(
        title=title,
        phase=status.get("phase", "rolled out"),
        message=status.get("message", ""),
        seconds=finished - start,
        phases=phases,
        origin_before=_mean([sample.origin for sample in before]),
        origin_peak=_peak([sample.origin for sample in during]),
        hit_before=_mean_hit_rate(before),
        hit_lowest=lowest_hit_rate(during),
        hit_after=_mean_hit_rate(during[-_PEAK_SAMPLES:]),
        requests=users.get("requests", 0),
        failed=users.get("errors", 0),
        broken=users.get("broken", 0),
        stale=users.get("stale", 0),
        bad_span=max((last - first for first, last in spans), default=None),
        bad_after_abort=sum(1 for _, last in spans if aborted and last > aborted + 1.0),
    )


def _spans(users: dict[str, Any], title: str) -> list[tuple[float, float]]:
    """First and last bad response of the release on trial, by its name in the answers."""
    name = title.split(maxsplit=1)[0].rstrip(",")
    return [
        (entry["first_at"], entry["last_at"])
        for source, entry in (users.get("bad_by_source") or {}).items()
        if source.startswith(name)
    ]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _peak(values: list[float]) -> float:
    """The highest mean over ten seconds: shorter peaks are mostly chance."""
    windows = [
        values[i : i + _PEAK_SAMPLES] for i in range(max(1, len(values) - _PEAK_SAMPLES + 1))
    ]
    return max((_mean(window) for window in windows), default=0.0)


def _mean_hit_rate(samples: list[Sample]) -> float | None:
    lookups = sum(sample.lookups for sample in samples)
    return sum(sample.hits for sample in samples) / lookups if lookups else None


if __name__ == "__main__":
    raise SystemExit(main())
