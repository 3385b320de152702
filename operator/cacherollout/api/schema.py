"""From a pydantic model to the structural OpenAPI schema that a CustomResourceDefinition wants.

Refuses what has no structural form (unions, tuples, recursion) instead of emitting something that
the API server would reject or prune at night.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from cacherollout.api.scalars import (
    DURATION_PATTERN,
    PERCENT_PATTERN,
    format_duration,
    format_percent,
)

_KEPT: Final = (
    "description",
    "type",
    "default",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "properties",
    "additionalProperties",
    "items",
)
"""What a structural schema may hold of a JSON schema, in the order in which people read it."""
_SPELLED: Final[Mapping[str, Callable[[float], str]]] = {
    DURATION_PATTERN: format_duration,
    PERCENT_PATTERN: format_percent,
}
"""Scalars that are numbers in Python and text in the resource, by the pattern of the text."""

Schema = dict[str, Any]


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model; ValueError names the path that has none."""
    schema = model.model_json_schema(by_alias=True)
    return _walk(schema, schema.get("$defs", {}), path=model.__name__, seen=())


def _walk(node: Schema, defs: Mapping[str, Schema], path: str, seen: tuple[str, ...]) -> Schema:
    node = dict(node)
    if "$ref" in node:
        name = str(node.pop("$ref")).rsplit("/", 1)[-1]
        if name in seen:
            raise ValueError(f"{path}: recursive type {name} cannot be structural")
        return _walk({**defs[name], **node}, defs, path, (*seen, name))
    if "anyOf" in node:
        return _walk(_without_null(node, path), defs, path, seen)
    if "prefixItems" in node or "oneOf" in node:
        raise ValueError(f"{path}: tuples and unions are not structural")
    if node.get("type") == "object":
        _walk_object(node, defs, path, seen)
    if node.get("type") == "array":
        node["items"] = _walk(node["items"], defs, f"{path}[]", seen)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get("pattern") in _SPELLED and isinstance(node.get("default"), float):
        node["default"] = _SPELLED[node["pattern"]](node["default"])
    if "type" not in node and not node.get("x-kubernetes-int-or-string"):
        raise ValueError(f"{path}: no type")
    extensions = [key for key in sorted(node) if key.startswith("x-kubernetes-")]
    return {key: node[key] for key in (*_KEPT, *extensions) if key in node}


def _walk_object(
    node: Schema, defs: Mapping[str, Schema], path: str, seen: tuple[str, ...]
) -> None:
    if "properties" in node:
        node.pop("additionalProperties", None)
        node["properties"] = {
            name: _walk(child, defs, f"{path}.{name}", seen)
            for name, child in node["properties"].items()
        }
        _default_of_parts(node)
    elif node.get("x-kubernetes-preserve-unknown-fields"):
        node.pop("additionalProperties", None)
    elif isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = _walk(node["additionalProperties"], defs, f"{path}[*]", seen)
    else:
        raise ValueError(f"{path}: a free-form object must preserve unknown fields")


def _default_of_parts(node: Schema) -> None:
    """Give optional parts a default, since nested ones need a parent that is present.

    It is spelled out, because the API server holds a default against the rules as it stands.
    """
    required = node.get("required", [])
    for name, child in node["properties"].items():
        is_part = child.get("type") == "object" and "properties" in child
        if is_part and name not in required and not child.get("required"):
            defaults = {
                key: part["default"]
                for key, part in child["properties"].items()
                if "default" in part
            }
            if defaults:
                child["default"] = defaults


def _without_null(node: Schema, path: str) -> Schema:
    """`T | None` is an optional T: absent means none, and null is never stored."""
    choices = [choice for choice in node.pop("anyOf") if choice.get("type") != "null"]
    if len(choices) != 1:
        raise ValueError(f"{path}: unions are not structural; use sibling fields and a CEL rule")
    if node.get("default", ...) is None:
        node.pop("default")
    return {**choices[0], **node}
