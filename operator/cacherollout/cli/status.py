"""status: one rollout as a tree that can be read at a glance, once or until it ends."""

import asyncio
import time
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.observation import target_facts
from cacherollout.adapters.kube.readings import read_template
from cacherollout.adapters.kube.resources import DEPLOYMENTS
from cacherollout.api.ledger import load_ledger
from cacherollout.api.reasons import Phase
from cacherollout.cli.rollouts import Where, connected, fetch, located, run
from cacherollout.cli.views import view
from cacherollout.core.versions import is_same, wanted_release
from cacherollout.ports.errors import DependencyError, SpecError
from cacherollout.shell.clock import wall_clock
from cacherollout.shell.specs import parse

EXIT_PROMOTED = 0
EXIT_ROLLED_BACK = 1
EXIT_TIMED_OUT = 2
EXIT_UNKNOWN = 3
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

    The exit code says how the last release ended: 0 promoted (or nothing to do), 1 rolled back, 2
    timed out (with --watch), 3 not known, such as where there is no such CacheRollout. A release
    that was deployed before the watch began is waited for, even if the operator has not begun it.
    """
    where = Where(kubeconfig, context, namespace)
    work = _watch(where, name, timeout) if watch else _show(where, name)
    code = run(work, failure_code=EXIT_UNKNOWN)
    raise SystemExit(code)


async def _show(where: Where, name: str) -> int:
    async with connected(where) as client:
        rollout = await fetch(client, where, name)
    Console().print(view(rollout, wall_clock()))
    return outcome(rollout) or 0


async def _watch(where: Where, name: str, longest_seconds: float) -> int:
    started = time.monotonic()
    async with connected(where) as client:
        # The first look may fail; afterwards the API server may be away for a while.
        rollout = await fetch(client, where, name)
        with Live(console=Console(), auto_refresh=False) as live:
            while True:
                code, trouble = None, ""
                try:
                    rollout = await fetch(client, where, name)
                    code = outcome(rollout)
                    if code is not None and await is_waiting(client, where, rollout):
                        code = None
                except DependencyError as error:
                    trouble = f"Not up to date: {error}"
                shown = view(rollout, wall_clock())
                live.update(Group(shown, Text(trouble, style="yellow")) if trouble else shown)
                live.refresh()
                if code is not None:
                    return code
                if time.monotonic() - started > longest_seconds:
                    return EXIT_TIMED_OUT
                await asyncio.sleep(_LOOK_SECONDS)


async def is_waiting(client: Client, where: Where, rollout: dict[str, Any]) -> bool:
    """Whether the target asks for a release that the operator has not begun yet.

    Just after a deployment the status still speaks of the release before.
    """
    ledger = load_ledger((rollout.get("status") or {}).get("ledger"))
    try:
        spec = parse(rollout["spec"])
        deployment = await client.get(DEPLOYMENTS, where.namespace, spec.target_ref.name)
        if deployment is None or ledger.stable is None:
            return False
        target = target_facts(deployment, read_template(deployment, spec), [], {})
    except SpecError:
        return False
    wanted = wanted_release(spec, ledger.stable, target)
    is_rejected = wanted and ledger.rejected and is_same(wanted, ledger.rejected)
    return wanted is not None and not is_rejected


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
