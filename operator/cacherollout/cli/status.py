"""status: one rollout as a tree that can be read at a glance, once or until it ends."""

import asyncio
import time
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from cacherollout.api.reasons import Phase
from cacherollout.cli.rollouts import Where, connected, fetch, located, run
from cacherollout.cli.views import view
from cacherollout.shell.clock import wall_clock

EXIT_PROMOTED = 0
EXIT_ROLLED_BACK = 1
EXIT_TIMED_OUT = 2
_LOOK_SECONDS = 1.0


@click.command()
@click.argument("name")
@click.option("-w", "--watch", is_flag=True, help="Stay until the rollout under way has ended.")
@click.option(
    "--timeout", type=float, default=3600.0, show_default=True, help="Longest watch, in seconds."
)
@located
def status(
    name: str,
    watch: bool,
    timeout: float,
    kubeconfig: str | None,
    context: str | None,
    namespace: str,
) -> None:
    """Show a CacheRollout.

    With --watch, the exit code says how it ended: 0 promoted (or nothing to do), 1 rolled back, 2
    timed out.
    """
    where = Where(kubeconfig, context, namespace)
    code = run(_watch(where, name, timeout) if watch else _show(where, name))
    raise SystemExit(code)


async def _show(where: Where, name: str) -> int:
    async with connected(where) as client:
        rollout = await fetch(client, where, name)
    Console().print(view(rollout, wall_clock()))
    return outcome(rollout) or 0


async def _watch(where: Where, name: str, longest_seconds: float) -> int:
    started = time.monotonic()
    async with connected(where) as client:
        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                rollout = await fetch(client, where, name)
                shown = view(rollout, wall_clock())
                live.update(shown, refresh=True)
                code = outcome(rollout)
                if code is not None:
                    return code
                if time.monotonic() - started > longest_seconds:
                    return EXIT_TIMED_OUT
                await asyncio.sleep(_LOOK_SECONDS)


def outcome(rollout: dict[str, Any]) -> int | None:
    """How the last release ended, as an exit code; None while one is under way."""
    status_ = rollout.get("status") or {}
    if status_.get("observedGeneration", 0) < rollout.get("metadata", {}).get("generation", 0):
        return None
    match status_.get("phase"):
        case Phase.SUCCEEDED | Phase.IDLE:
            return EXIT_PROMOTED
        case Phase.ROLLED_BACK:
            return EXIT_ROLLED_BACK
        case _:
            return None
