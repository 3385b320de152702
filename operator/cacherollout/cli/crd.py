"""`cacherollout crd`: the custom resource definitions that belong to this very version.

Knows nothing of clusters: it prints, or writes files, and `kubectl apply` does the rest.
"""

from pathlib import Path
from typing import Any, Final

import click
import yaml

from cacherollout.api.crds import definitions

HEADER: Final = "# Generated from operator/cacherollout/api by `make crds`; do not edit.\n"


class _Dumper(yaml.SafeDumper):
    """Writes shared parts out each time: `kubectl explain` readers should meet no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never an alias."""
        return True


@click.command("crd")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write one file for each definition into this folder instead of printing them.",
)
def crd(output_dir: Path | None) -> None:
    """Print the custom resource definitions, for `kubectl apply -f -`."""
    files = rendered()
    if output_dir is None:
        click.echo("---\n".join(files.values()), nl=False)
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (output_dir / name).write_text(text, encoding="utf-8")


def rendered() -> dict[str, str]:
    """The definitions as YAML by file name."""
    return {
        f"{definition['metadata']['name']}.yaml": HEADER
        + yaml.dump(definition, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
        for definition in definitions()
    }


if __name__ == "__main__":
    crd()
