"""Access to one CacheRollout for the commands that people type.

Read and annotate only: a command never writes a status and never touches the target.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.resources import ROLLOUTS
from cacherollout.api import names
from cacherollout.ports.errors import CacheRolloutError

Result = TypeVar("Result")
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Where:
    """Which cluster and namespace a command speaks to."""

    kubeconfig: str | None
    context: str | None
    namespace: str


def located(command: Command) -> Command:
    """Add the options that name a cluster and a namespace, as kubectl spells them."""
    options = (
        click.option("--kubeconfig", metavar="PATH", help="Kubeconfig; else what kubectl reads."),
        click.option("--context", metavar="NAME", help="Context of the kubeconfig."),
        click.option(
            "-n",
            "--namespace",
            default="default",
            show_default=True,
            metavar="NAME",
            help="Namespace of the CacheRollout.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@asynccontextmanager
async def connected(where: Where) -> AsyncIterator[Client]:
    """A client for as long as a command runs."""
    client = await Client.from_kubeconfig(where.kubeconfig, where.context)
    try:
        yield client
    finally:
        await client.close()


async def fetch(client: Client, where: Where, name: str) -> dict[str, Any]:
    """The CacheRollout as stored; a message for people where there is none."""
    found = await client.get(ROLLOUTS, where.namespace, name)
    if found is None:
        raise click.ClickException(
            f"There is no CacheRollout {name} in namespace {where.namespace}. "
            f"`kubectl get cacherollouts -A` lists them."
        )
    return found


async def ask(client: Client, where: Where, name: str, verb: str) -> str:
    """Leave a request for the operator, tied to the revision at hand; gives that revision."""
    rollout = await fetch(client, where, name)
    ledger = rollout.get("status", {}).get("ledger", {})
    at_hand = ledger.get("attempt", {}).get("release") or ledger.get("rejected") or {}
    revision = str(at_hand.get("revision", ""))
    needs_revision = verb in ("promote", "abort", "retry")
    value = f"{verb}/{revision}" if revision and needs_revision else verb
    patch = {"metadata": {"annotations": {names.ANNOTATION_REQUEST: value}}}
    await client.merge_patch(ROLLOUTS, where.namespace, name, patch)
    return revision


def run(work: Awaitable[Result]) -> Result:
    """Run a command's work; errors of the cluster become one line for people."""

    async def _run() -> Result:
        return await work

    try:
        return asyncio.run(_run())
    except CacheRolloutError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt as error:
        raise click.Abort from error
