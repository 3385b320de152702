"""The base of every model of the contract: camelCase outside, frozen inside.

What the API server would prune is ignored on reading; the core never sees an unknown field.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """A part of a custom resource."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules of a schema, as `(rule, message)`; a message names the field and the fix."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": text} for rule, text in pairs]}


def ruled(*pairs: tuple[str, str]) -> ConfigDict:
    """A model configuration that adds CEL rules to the generated schema."""
    return ConfigDict(json_schema_extra=rules(*pairs))


def keyed_by(*keys: str) -> dict[str, Any]:
    """Schema of a list that server-side apply merges by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
