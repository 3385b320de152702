"""The reference pages leave nothing out."""

import pytest

from cacherollout.api.crds import definitions
from cacherollout.api.reasons import ConditionType, Phase, Reason
from cacherollout.cli.reference import pages

PAGES = pages()


@pytest.mark.parametrize("word", [*Phase, *ConditionType, *Reason])
def test_every_word_is_explained(word: str) -> None:
    assert f"| `{word}` | " in PAGES["reasons.md"]


def test_every_word_is_explained_once_in_its_table() -> None:
    words = len(Phase) + len(ConditionType) + len(Reason)
    assert PAGES["reasons.md"].count("\n| `") == words


@pytest.mark.parametrize("definition", definitions(), ids=lambda d: d["spec"]["names"]["kind"])
def test_every_field_of_a_spec_has_a_row(definition: dict) -> None:
    page = PAGES[f"{definition['spec']['names']['singular']}.md"]
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    pending = [schema["properties"]["spec"]]
    while pending:
        node = pending.pop()
        for name, child in node["properties"].items():
            assert f"| `{name}` | " in page
            inner = child.get("items", child)
            if "properties" in inner:
                pending.append(inner)
