"""`cacherollout docs`: the reference pages, written from the schemas and the reasons themselves.

A page that is generated cannot fall behind; what needs explaining stands in docs/explanation.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from cacherollout.api import names, reasons
from cacherollout.api.crds import definitions
from cacherollout.api.scalars import DURATION_PATTERN, PERCENT_PATTERN

HEADER: Final = "<!-- Generated from operator/cacherollout/api by `make docs`; do not edit. -->\n"
_EXAMPLES: Final = {
    names.ROLLOUT_KIND: """\
apiVersion: cacherollout.io/v1alpha1
kind: CacheRollout
metadata: {name: shop-api, namespace: shop}
spec:
  targetRef: {name: shop-api}
  cache:
    backendRef: {name: main}
    families:
      - {name: user, key: "user:{version}:{id}", ttl: 5m, required: [id, email]}
      - name: orders
        key: "order:{version}:list:{id}"
        warm: Replay
        replayPath: /users/{id}/orders
""",
    names.BACKEND_KIND: """\
apiVersion: cacherollout.io/v1alpha1
kind: CacheBackend
metadata: {name: main, namespace: shop}
spec:
  redis:
    address: redis.shop.svc:6379
    credentialsSecretRef: {name: redis-operator}
  keyPrefixes: ["user:", "order:"]
""",
}
_SPELLINGS: Final = {DURATION_PATTERN: "duration", PERCENT_PATTERN: "percentage"}

Schema = dict[str, Any]


@click.command("docs", hidden=True)
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("docs/reference"),
    show_default=True,
    help="Folder for the pages.",
)
def docs(output_dir: Path) -> None:
    """Write the reference pages of the resources and of the reasons."""
    output_dir.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (output_dir / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The pages as Markdown by file name."""
    found = {
        f"{definition['spec']['names']['singular']}.md": _kind_page(definition)
        for definition in definitions()
    }
    return found | {"reasons.md": _reasons_page()}


def _kind_page(definition: Schema) -> str:
    spoken = definition["spec"]["names"]
    version = definition["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    introduction = (
        f"{root['description']} `apiVersion: {names.API_VERSION}`, namespaced; "
        f"`kubectl get {spoken['plural']}`, or `{spoken['shortNames'][0]}` for short."
    )
    columns = ", ".join(column["name"] for column in version["additionalPrinterColumns"])
    lines = [
        HEADER,
        f"# {spoken['kind']}",
        "",
        introduction,
        "",
        f"Columns of `kubectl get`: {columns}.",
        "",
        f"```yaml\n{_EXAMPLES[spoken['kind']]}```",
    ]
    for part in ("spec", "status"):
        for path, schema in _objects(root["properties"][part], part):
            lines += ["", *_object_section(path, schema)]
    return "\n".join(lines) + "\n"


def _objects(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every part that has fields of its own, depth first, with its path."""
    yield path, schema
    for name, child in schema["properties"].items():
        inner, suffix = (child["items"], "[]") if "items" in child else (child, "")
        if "properties" in inner:
            yield from _objects(inner, f"{path}.{name}{suffix}")


def _object_section(path: str, schema: Schema) -> list[str]:
    lines = [
        f"{'#' * (2 + min(path.count('.'), 2))} {path}",
        "",
        schema["description"],
        "",
        "| Field | Type | Default | Bounds | Meaning |",
        "|---|---|---|---|---|",
    ]
    required = schema.get("required", [])
    for name, child in schema["properties"].items():
        cells = (
            f"`{name}`",
            _link(child, f"{path}.{name}"),
            _default(child, is_required=name in required),
            "; ".join(_bounds(child)) or "–",
            child["description"],
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", [])]
    if rules:
        lines += ["", "Refused with one of these messages:", "", *(f"- {rule}" for rule in rules)]
    return lines


def _link(schema: Schema, path: str) -> str:
    """The type, leading to its own section where it has one."""
    if "properties" in schema.get("items", schema):
        anchor = path.replace(".", "").replace("[]", "").lower()
        return f"[{_type(schema)}](#{anchor})"
    return _type(schema)


def _type(schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or percentage"
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    return _SPELLINGS.get(schema.get("pattern", ""), str(schema["type"]))


def _default(schema: Schema, *, is_required: bool) -> str:
    if is_required:
        return "required"
    default = schema.get("default")
    if default is None or isinstance(default, dict | list):
        return "–"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _bounds(schema: Schema) -> Iterator[str]:
    if "enum" in schema:
        yield " or ".join(f"`{choice}`" for choice in schema["enum"])
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f"{_number(low)} to {_number(high)}"
    if "maxItems" in schema:
        yield f"{schema.get('minItems', 0)} to {schema['maxItems']} items"
    yield from _text_bounds(schema.get("items", schema))


def _text_bounds(schema: Schema) -> Iterator[str]:
    if schema.get("type") != "string" or "enum" in schema:
        return
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", [])]
    if rules:
        yield from rules
    if _type(schema) == "string":
        yield f"at most {schema['maxLength']} characters"


def _number(value: float) -> str:
    exact = int(value)
    if exact == value and exact > 1 and exact & (exact - 1) == 0 and exact > 2**20:
        return f"2^{exact.bit_length() - 1}"
    return f"{exact:,}" if exact == value else str(value)


def _reasons_page() -> str:
    introduction = (
        "Everything that conditions, events and logs say in one word. The sets are closed: alerts "
        "may rely on them."
    )
    lines = [HEADER, "# Phases, conditions and reasons", "", introduction]
    for title, enum in (
        ("Phases", reasons.Phase),
        ("Conditions", reasons.ConditionType),
        ("Reasons", reasons.Reason),
    ):
        lines += ["", f"## {title}", "", "| Word | Meaning |", "|---|---|"]
        lines += [f"| `{word}` | {meaning} |" for word, meaning in _documented(enum)]
    return "\n".join(lines) + "\n"


def _documented(enum: type) -> Iterator[tuple[str, str]]:
    """Each member's value with the docstring below it, which only the source still has."""
    body = ast.parse(inspect.getsource(enum)).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101  # narrows for the type checker
    for statement, following in zip(body.body, body.body[1:], strict=False):
        match statement, following:
            case (
                ast.Assign(value=ast.Constant(value=str(word))),
                ast.Expr(value=ast.Constant(value=str(meaning))),
            ):
                yield word, " ".join(meaning.split())


if __name__ == "__main__":
    docs()
