"""report: the last roll-back of a rollout, as Markdown that can be pasted into an incident."""

import click

from cacherollout.adapters.kube.resources import EVENTS
from cacherollout.api.ledger import load_ledger
from cacherollout.cli.incidents import incident
from cacherollout.cli.rollouts import Where, connected, fetch, located, run


@click.command()
@click.argument("name")
@located
def report(name: str, kubeconfig: str | None, context: str | None, namespace: str) -> None:
    """Print an incident report about the last release that was rolled back, as Markdown.

    What happened, when, what every gate had seen, what it cost, and what to do. Exit code 1 where
    no release was rolled back.
    """
    click.echo(run(_report(Where(kubeconfig, context, namespace), name)), nl=False)


async def _report(where: Where, name: str) -> str:
    async with connected(where) as client:
        rollout = await fetch(client, where, name)
        ledger = load_ledger((rollout.get("status") or {}).get("ledger"))
        uid = rollout["metadata"]["uid"]
        events = await client.select(EVENTS, where.namespace, fields=f"involvedObject.uid={uid}")
    try:
        return incident(name, where.namespace, ledger, events)
    except LookupError as error:
        raise click.ClickException(str(error.args[0])) from error
