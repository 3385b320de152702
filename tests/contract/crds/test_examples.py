"""Every example of our kinds in the repository is accepted by the API server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.crds.conftest import ROOT, Kubectl

_FENCE = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HERE_DOCUMENT = re.compile(r"<<-?\s*'?EOF'?\n(.*?)\n\s*EOF", re.DOTALL)
_PLACES = ("README.md", "docs", "examples", "charts", "manifests")
_FOREIGN = (".venv", "node_modules", "files")


def _texts(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".yaml", ".yml"):
        # A template of a chart is no YAML yet; rendering it is the packaging tests' business.
        yield from () if "{{" in text else (text,)
    else:
        yield from _HERE_DOCUMENT.findall(text)
        yield from _FENCE.findall(text)


def _files() -> Iterator[Path]:
    for place in _PLACES:
        root = ROOT / place
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            inside = path.relative_to(ROOT)
            if path.is_file() and not set(inside.parts) & set(_FOREIGN):
                yield path


def _examples() -> Iterator[Any]:
    for path in _files():
        if path.suffix not in (".yaml", ".yml", ".md", ".txt"):
            continue
        for text in _texts(path):
            for document in yaml.safe_load_all(text):
                if isinstance(document, dict) and str(document.get("apiVersion")).startswith(
                    "cacherollout.io/"
                ):
                    name = f"{path.relative_to(ROOT)}: {document['kind']}"
                    yield pytest.param(document, id=name)


EXAMPLES = list(_examples())


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_accepted(kubectl: Kubectl, example: dict[str, Any]) -> None:
    example["metadata"]["namespace"] = "default"
    answer = kubectl("create", "--dry-run=server", "-f", "-", given=example)
    assert answer.returncode == 0, answer.stderr
    assert "Warning" not in answer.stderr


def test_there_are_examples_of_both_kinds() -> None:
    kinds = {example.values[0]["kind"] for example in EXAMPLES}
    assert kinds == {"CacheRollout", "CacheBackend"}
