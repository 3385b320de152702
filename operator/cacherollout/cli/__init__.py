"""The command line: one program for the operator's process and for the people who watch it.

A command's module is imported when the command is named: `cacherollout status` loads neither kopf
nor the cache engine.
"""

from importlib import import_module
from typing import Final

import click

_COMMANDS: Final = {
    "status": "status:status",
    "check": "check:check",
    "plan": "plan:plan",
    "report": "report:report",
    "promote": "requests:promote",
    "abort": "requests:abort",
    "retry": "requests:retry",
    "pause": "requests:pause",
    "resume": "requests:resume",
    "cache": "caches:cache",
    "crd": "crd:crd",
    "docs": "reference:docs",
    "run": "run:run",
}
"""Where each command is defined, in the order of the help."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command = getattr(import_module(f"{__name__}.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place} is not a command")
        return command


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, name="cacherollout"
)
@click.version_option(package_name="cacherollout")
def main() -> None:
    """Change what is in a cache as safely as code: watch releases, or run the operator."""
