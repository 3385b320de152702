"""Every field that users meet is described, and nothing they can write is without a bound."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cacherollout.api.crds import definitions

MAX_DEFINITION_BYTES = 262_144
"""Plain `kubectl apply` keeps a copy of the object in an annotation of at most this size."""

BOUNDS = {
    "string": [{"maxLength"}, {"enum"}],
    "integer": [{"minimum", "maximum"}],
    "number": [{"minimum", "maximum"}],
    "array": [{"maxItems"}],
    "boolean": [set()],
    "object": [{"properties"}, {"additionalProperties", "maxProperties"}],
}
Field = tuple[str, dict[str, Any]]


def _fields(schema: dict[str, Any], path: str) -> Iterator[Field]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _fields(child, f"{path}.{name}")
    if "items" in schema:
        yield from _fields(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _fields(schema["additionalProperties"], f"{path}[*]")


def _all_fields() -> list[Field]:
    return [
        field
        for definition in definitions()
        for part in ("spec", "status")
        for field in _fields(
            definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part],
            f"{definition['spec']['names']['kind']}.{part}",
        )
    ]


FIELDS = _all_fields()


def _named(fields: list[Field]) -> Any:
    return pytest.mark.parametrize(("path", "schema"), fields, ids=[path for path, _ in fields])


@_named([field for field in FIELDS if not field[0].endswith(("[]", "[*]"))])
def test_every_field_has_a_description(path: str, schema: dict[str, Any]) -> None:
    assert schema.get("description"), f"{path} says nothing about itself"


@_named([field for field in FIELDS if field[0] != "CacheRollout.status.ledger"])
def test_every_value_is_bounded(path: str, schema: dict[str, Any]) -> None:
    if schema.get("x-kubernetes-int-or-string"):
        assert {"minimum", "maximum", "maxLength"} <= schema.keys(), f"{path} has no bound"
        return
    choices = BOUNDS[schema["type"]]
    assert any(choice <= schema.keys() for choice in choices), (
        f"{path} is a {schema['type']} without a bound: it needs one of {choices}"
    )


def test_only_the_ledger_is_free_form() -> None:
    free = [path for path, schema in FIELDS if "x-kubernetes-preserve-unknown-fields" in schema]
    assert free == ["CacheRollout.status.ledger"]


@_named([field for field in FIELDS if "pattern" in field[1] and ".spec." in field[0]])
def test_every_pattern_of_a_spec_says_what_to_write(path: str, schema: dict[str, Any]) -> None:
    rules = schema.get("x-kubernetes-validations", [])
    assert rules, f"{path}: a pattern is refused without a word about the fix; add a rule"


@_named([field for field in FIELDS if "x-kubernetes-validations" in field[1]])
def test_every_rule_has_a_message(path: str, schema: dict[str, Any]) -> None:
    for rule in schema["x-kubernetes-validations"]:
        assert rule.get("message"), f"{path}: {rule['rule']}"


@pytest.mark.parametrize("definition", definitions(), ids=lambda d: d["metadata"]["name"])
def test_a_definition_fits_into_the_annotation_of_kubectl_apply(
    definition: dict[str, Any],
) -> None:
    assert len(yaml.safe_dump(definition).encode()) < MAX_DEFINITION_BYTES
