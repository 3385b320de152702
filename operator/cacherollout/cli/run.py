"""`cacherollout run`: the operator's process. Every option is also an environment variable."""

import asyncio
import sys
from typing import Any

import click

from cacherollout.shell.settings import LogFormat, Settings


@click.command(context_settings={"auto_envvar_prefix": "CACHEROLLOUT", "show_default": True})
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    envvar="CACHEROLLOUT_NAMESPACES",
    show_envvar=True,
    help="Namespace to serve; may be given several times (in the variable: with blanks between).",
)
@click.option(
    "--all-namespaces",
    "-A",
    is_flag=True,
    show_envvar=True,
    help="Serve the whole cluster instead.",
)
@click.option(
    "--lease-namespace",
    envvar=["CACHEROLLOUT_LEASE_NAMESPACE", "POD_NAMESPACE"],
    default="default",
    help="Namespace of the Lease that lets one replica work.",
)
@click.option("--lease-name", default="cacherollout-operator", help="Name of that Lease.")
@click.option(
    "--identity",
    envvar=["CACHEROLLOUT_IDENTITY", "POD_NAME"],
    default="",
    show_default="host name and a random word",
    help="Name of this replica in the Lease; the pod's name is best.",
)
@click.option("--host", default="0.0.0.0", help="Address of health checks and metrics.")  # noqa: S104 - probes come from outside the pod
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="Port of the same.")
@click.option("--workers", type=click.IntRange(1, 64), default=8, help="Rollouts worked at a time.")
@click.option(
    "--log-format",
    type=click.Choice([each.value for each in LogFormat]),
    default=LogFormat.TEXT.value,
    help="How log lines look.",
)
@click.option("--verbose", is_flag=True, help="Log what every library has to say.")
@click.option("--kubeconfig", help="Instead of the pod's service account.")
@click.option("--context", help="Context of that kubeconfig.")
def run(*, all_namespaces: bool, log_format: str, verbose: bool, **options: Any) -> None:
    """Run the operator until SIGTERM."""
    if all_namespaces == bool(options["namespaces"]):
        raise click.UsageError("Say which namespaces to serve: --namespace, or --all-namespaces.")
    try:
        settings = Settings(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    # Imported here, so that neither the help nor another command loads all this.
    from cacherollout.shell import composition  # noqa: PLC0415
    from cacherollout.shell.telemetry import set_up_logging  # noqa: PLC0415

    set_up_logging(as_json=log_format == LogFormat.JSON, is_verbose=verbose)
    sys.exit(asyncio.run(composition.run(settings)))
