"""promote, abort, retry, pause, resume: leave a request; the operator answers it."""

import asyncio
import time
from collections.abc import Callable

import click

from cacherollout.adapters.kube.resources import ROLLOUTS
from cacherollout.api import names
from cacherollout.cli.rollouts import Where, ask, connected, located, run

_HELP = {
    "promote": "Promote the release on trial now, without waiting for the soak or more evidence.",
    "abort": "Undo the release on trial, cache included; within the window also after promotion.",
    "retry": "Try a rejected release again, or adopt a target that was replaced.",
    "pause": "Take no step forward until resumed; a failing gate still rolls back.",
    "resume": "Go on after a pause.",
}
_WAIT_SECONDS = 15.0


async def _request(where: Where, name: str, verb: str) -> None:
    async with connected(where) as client:
        revision = await ask(client, where, name, verb)
        of = f" of revision {revision}" if revision else ""
        started = time.monotonic()
        while time.monotonic() - started < _WAIT_SECONDS:
            found = await client.get(ROLLOUTS, where.namespace, name) or {}
            annotations = found.get("metadata", {}).get("annotations") or {}
            if names.ANNOTATION_REQUEST not in annotations:
                message = found.get("status", {}).get("message", "")
                click.echo(f"{verb}{of}: taken. {message}")
                return
            await asyncio.sleep(0.2)
    raise click.ClickException(
        f"The operator has not taken the request within {_WAIT_SECONDS:g} s. Does it run, and does "
        f"it watch namespace {where.namespace}? The request stays; it is taken when it does."
    )


def _command(verb: str) -> click.Command:
    def request(name: str, kubeconfig: str | None, context: str | None, namespace: str) -> None:
        run(_request(Where(kubeconfig, context, namespace), name, verb))

    decorated: Callable[..., None] = located(request)
    return click.command(name=verb, help=_HELP[verb])(click.argument("name")(decorated))


promote = _command("promote")
abort = _command("abort")
retry = _command("retry")
pause = _command("pause")
resume = _command("resume")
