"""The option that every command with figures has: for whom it prints them."""

from typing import Final

import click

output_option: Final = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for machines.",
)
