"""Access to one CacheRollout for the commands that people type.

Read and annotate only: a command never writes a status and never touches the target.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
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


def is_inside(where: Where) -> bool:
    """Whether the command runs in a pod and is to use its service account.

    As with kubectl, a kubeconfig that is given, or lies where it is looked for, comes first.
    """
    if where.kubeconfig or where.context or os.environ.get("KUBECONFIG"):
        return False
    return (
        "KUBERNETES_SERVICE_HOST" in os.environ and not Path("~/.kube/config").expanduser().exists()
    )


@asynccontextmanager
async def connected(where: Where) -> AsyncIterator[Client]:
    """A client for as long as a command runs."""
    if is_inside(where):
        client = await Client.in_cluster()
    else:
        client = await Client.from_kubeconfig(where.kubeconfig, where.context)
    try:
        yield client
    finally:
        await client.close()


async def fetch(client: Client, where: Where, name: str) -> dict[str, Any]:
    """The CacheRollout as stored; a message for people where there is none."""
    found = await client.get(ROLLOUTS, where.namespace, name)
    if found is None:
        raise missing(where, name)
    return found


def missing(where: Where, name: str) -> click.ClickException:
    """A message for people about a CacheRollout that is not there."""
    return click.ClickException(
        f"There is no CacheRollout {name} in namespace {where.namespace}. "
        f"`kubectl get cacherollouts -A` lists them."
    )


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


def run(work: Awaitable[Result], *, failure_code: int = 1) -> Result:
    """Run a command's work; errors of the cluster become one line for people.

    `failure_code` is the exit code of an error.
    """

    async def _run() -> Result:
        return await work

    try:
        return asyncio.run(_run())
    except (CacheRolloutError, click.ClickException) as error:
        told = (
            error if isinstance(error, click.ClickException) else click.ClickException(str(error))
        )
        told.show()
        raise SystemExit(failure_code) from error
    except KeyboardInterrupt as error:
        raise click.Abort from error
