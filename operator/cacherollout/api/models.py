"""The base of every model of the contract: camelCase outside, frozen inside.

What the API server would prune is ignored on reading; the core never sees an unknown field. Rules
that one field alone cannot state are written twice, side by side: in CEL for the API server, and in
Python for objects that were stored before the rule existed.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

WITHOUT_RULES: Final = {"rules": "ignored"}
"""Validation context that reads each field but skips the rules, as when only undoing is left."""


class Rule(NamedTuple):
    """Something that must hold; the message names the field and the fix."""

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None
    """The same over the parsed model; None where Python cannot tell, as about a change."""
    field: str = ""
    """Path, such as `.soak`, under which the API server reports the violation."""


class Model(BaseModel):
    """A part of a custom resource; ValidationError carries the message of a broken rule."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Add the rules to the schema of the class itself, past any reference."""
        schema = handler(core_schema)
        if cls.rules:
            handler.resolve_ref_schema(schema).update(validations(*cls.rules))
        return schema

    @model_validator(mode="after")
    def _keeps_its_rules(self, info: ValidationInfo) -> Self:
        if info.context is WITHOUT_RULES:
            return self
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(self):
                raise ValueError(rule.message)
        return self


def validations(*rules: Rule) -> dict[str, Any]:
    """Rules as the extension of a schema."""
    return {
        "x-kubernetes-validations": [
            {"rule": rule.cel, "message": rule.message}
            | ({"fieldPath": rule.field} if rule.field else {})
            for rule in rules
        ]
    }


def matches(pattern: str, message: str) -> dict[str, Any]:
    """A pattern of a string as a rule: a bare pattern is refused without saying what to write."""
    return validations(Rule(f"self.matches(r'{pattern}')", message))


def keyed_by(*keys: str) -> dict[str, Any]:
    """Schema of a list that server-side apply merges by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def as_set() -> dict[str, Any]:
    """Schema of a list without duplicates."""
    return {"x-kubernetes-list-type": "set"}
