"""Who owns which field of the target, as the API server keeps it in `metadata.managedFields`.

Pure. An owner's fields are a set of paths; `fieldsV1` is their spelling as a tree, in which a leaf
or a node with a `.` is a member.

The hold is all that we own for long. The version entry is written and then left without an owner:
owned by us, it would refuse the user who begins to state a version, and keep a container half alive
that the user renames. So an entry without an owner is ours, and no request of anybody. What is in
our name by an ordinary update is what a restore wrote for others and has not handed back yet.
"""

from collections.abc import Iterable
from typing import Any, Final

from cacherollout.adapters.kube import lastapplied
from cacherollout.adapters.kube.resources import Manifest
from cacherollout.api import names

Entries = list[dict[str, Any]]
"""`metadata.managedFields`."""
Path = tuple[str, ...]

_TEMPLATE: Final[Path] = ("f:spec", "f:template")
_LAST_APPLIED: Final[Path] = ("f:metadata", "f:annotations", f"f:{lastapplied.ANNOTATION}")
_PAUSED: Final[Path] = ("f:spec", "f:paused")
_IDENTITY: Final = ("manager", "operation", "apiVersion", "subresource")
_OURS: Final = {
    "manager": names.FIELD_MANAGER,
    "operation": "Apply",
    "apiVersion": "apps/v1",
    "fieldsType": "FieldsV1",
}


def entries_of(manifest: Manifest) -> Entries:
    """The object's entries; empty where it carries none."""
    entries: Entries = manifest.get("metadata", {}).get("managedFields") or []
    return entries


def is_owner(manifest: Manifest) -> bool:
    """Whether any field is in our name."""
    return any(_is_ours(entry) or _is_remains(entry) for entry in entries_of(manifest))


def has_remains(manifest: Manifest) -> bool:
    """Whether fields of others are still in our name, as after a restore that was cut short."""
    return any(_is_remains(entry) for entry in entries_of(manifest))


def is_env_ours(manifest: Manifest, container: str, env: str) -> bool:
    """Whether nobody but us states this env entry of the target's template.

    Where the container's fields have no owners at all, owners say nothing, and the entry counts as
    somebody else's.
    """
    item = _container_path(container)
    entry = _env_path(container, env)
    owners = [each for each in entries_of(manifest) if _has(each, entry)]
    if owners:
        return all(_is_ours(each) for each in owners)
    return any(_has(each, item) for each in entries_of(manifest))


def is_template_ours(manifest: Manifest) -> bool:
    """Whether anything of the template is in our name by server-side apply."""
    ours = _union(_paths_of(entry) for entry in entries_of(manifest) if _is_ours(entry))
    return any(path[:2] == _TEMPLATE for path in ours)


def with_hold_alone(entries: Entries) -> Entries:
    """The entries with our own cut down to the hold."""
    cut = [_with_paths(each, _held(each)) if _is_ours(each) else each for each in entries]
    return [each for each in cut if each.get("fieldsV1")]


def template_entries(manifest: Manifest) -> Entries:
    """Everybody else's entries cut down to what a restore writes: what a snapshot keeps of them."""
    kept = []
    for entry in entries_of(manifest):
        paths = {
            path for path in _paths_of(entry) if path[:2] == _TEMPLATE or path == _LAST_APPLIED
        }
        if paths and not _is_ours(entry):
            kept.append(_with_paths(entry, paths))
    return kept


def heirs(kept: Entries, before: Entries) -> Entries:
    """Who gets what back: as when it was kept, but to an applier what it has taken over since.

    An ordinary updater is never refused; an applier would be, by the updater that it superseded.
    `before` are the entries just before the restore.
    """
    updated = [each for each in kept if each.get("operation") == "Update"]
    appliers = [each for each in before if each.get("operation") == "Apply"]
    lost = _union(map(_paths_of, updated)) & _union(map(_paths_of, appliers))
    left = [_with_paths(each, _paths_of(each) - lost) for each in updated]
    taken = [_with_paths(each, _paths_of(each) & lost) for each in appliers]
    return [*(each for each in kept if each not in updated), *left, *taken]


def handed_back(current: Entries, kept: Entries, *, is_paused: bool) -> Entries:
    """The entries with what a restore wrote back in the names of those who owned it when kept.

    Fields that nobody owned then are nobody's again; of ours, the hold alone is left.
    """
    remains = _union(_paths_of(entry) for entry in current if _is_remains(entry))
    owned: dict[Path, tuple[Manifest, set[Path]]] = {}
    for entry in current:
        if not _is_remains(entry):
            paths = _held(entry) if _is_ours(entry) else _paths_of(entry)
            owned[_identity(entry)] = (entry, paths)
    if is_paused and _PAUSED in remains:
        owned.setdefault(_identity(_OURS), (_OURS, set()))[1].add(_PAUSED)
    for entry in kept:
        paths = _paths_of(entry) & remains
        if paths:
            owned.setdefault(_identity(entry), (entry, set()))[1].update(paths)
    return [_with_paths(entry, paths) for entry, paths in owned.values() if paths]


def without_ours(entries: Entries) -> Entries:
    """The entries of everybody else."""
    return [entry for entry in entries if not _is_ours(entry) and not _is_remains(entry)]


def _held(entry: Manifest) -> set[Path]:
    return _paths_of(entry) & {_PAUSED}


def _is_ours(entry: Manifest) -> bool:
    return entry.get("manager") == names.FIELD_MANAGER and entry.get("operation") == "Apply"


def _is_remains(entry: Manifest) -> bool:
    return entry.get("manager") == names.FIELD_MANAGER and entry.get("operation") == "Update"


def _identity(entry: Manifest) -> Path:
    return tuple(str(entry.get(part, "")) for part in _IDENTITY)


def _container_path(container: str) -> Path:
    return (*_TEMPLATE, "f:spec", "f:containers", f'k:{{"name":"{container}"}}')


def _env_path(container: str, env: str) -> Path:
    return (*_container_path(container), "f:env", f'k:{{"name":"{env}"}}')


def _has(entry: Manifest, path: Path) -> bool:
    """Whether an entry owns anything at or below `path`."""
    return any(owned[: len(path)] == path for owned in _paths_of(entry))


def _paths_of(entry: Manifest) -> set[Path]:
    return set(_paths(entry.get("fieldsV1") or {}, ()))


def _paths(tree: dict[str, Any], parent: Path) -> Iterable[Path]:
    for name, below in tree.items():
        if name == ".":
            yield parent
        elif below:
            yield from _paths(below, (*parent, name))
        else:
            yield (*parent, name)


def _union(sets: Iterable[set[Path]]) -> set[Path]:
    return set().union(*sets)


def _with_paths(entry: Manifest, paths: Iterable[Path]) -> Manifest:
    members = set(paths)
    inner = {path[:length] for path in members for length in range(1, len(path))}
    tree: dict[str, Any] = {}
    for path in members:
        node = tree
        for name in path:
            node = node.setdefault(name, {})
        if path in inner:
            node["."] = {}
    return {**entry, "fieldsV1": tree}
