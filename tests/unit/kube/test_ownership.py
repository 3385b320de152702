"""Who owns a field, and whose it is again after a restore."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cacherollout.adapters.kube import ownership

TEMPLATE = ("f:spec", "f:template")
CONTAINER = (*TEMPLATE, "f:spec", "f:containers", 'k:{"name":"api"}')
ENV = (*CONTAINER, "f:env", 'k:{"name":"CACHE_VERSION"}')
IMAGE = (*CONTAINER, "f:image")
REPLICAS = ("f:spec", "f:replicas")
PAUSED = ("f:spec", "f:paused")


def tree(*paths: tuple[str, ...]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path in paths:
        node = root
        for name in path:
            node = node.setdefault(name, {})
    return root


def entry(manager: str, operation: str, *paths: tuple[str, ...]) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "fieldsV1": tree(*paths),
    }


def manifest(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}}


def owned(entries: ownership.Entries) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["manager"], each["operation"]): each["fieldsV1"] for each in entries}


OURS = entry("cacherollout", "Apply", PAUSED, (*ENV, "f:value"))
HELM = entry("helm", "Apply", IMAGE)

WHOSE = {
    "ours alone": (manifest(OURS, HELM), True),
    "ours and somebody else's": (
        manifest(OURS, entry("kubectl", "Update", (*ENV, "f:value"))),
        False,
    ),
    "somebody else's alone": (manifest(entry("helm", "Apply", (*ENV, "f:value"))), False),
    "nobody's, in a container that somebody owns": (manifest(HELM), True),
    "nobody's, in an object that carries no owners": (manifest(), False),
    "what a restore has not handed back": (
        manifest(entry("cacherollout", "Update", (*ENV, "f:value"))),
        False,
    ),
}


def test_whose_the_version_entry_is() -> None:
    found = {
        name: ownership.is_env_ours(given_manifest, "api", "CACHE_VERSION")
        for name, (given_manifest, _) in WHOSE.items()
    }
    assert found == {name: is_ours for name, (_, is_ours) in WHOSE.items()}


def test_a_snapshot_keeps_the_template_part_of_everybody_elses_entries() -> None:
    controller = entry("kube-controller-manager", "Update", ("f:status", "f:replicas"))
    helm = entry("helm", "Apply", IMAGE, REPLICAS)
    kept = ownership.template_entries(manifest(OURS, controller, helm))
    assert kept == [HELM]


def test_what_a_restore_wrote_goes_back_to_who_had_it_and_nothing_else_moves() -> None:
    added = (*CONTAINER, "f:command")
    remains = entry("cacherollout", "Update", IMAGE, added, PAUSED, (*ENV, "f:value"))
    helm_now = entry("helm", "Apply", REPLICAS)
    scaler = entry("hpa", "Update", ("f:status", "f:replicas"))
    back = ownership.handed_back([OURS, remains, helm_now, scaler], [HELM], is_paused=True)
    assert owned(back) == {
        ("helm", "Apply"): tree(REPLICAS, IMAGE),
        ("hpa", "Update"): tree(("f:status", "f:replicas")),
        ("cacherollout", "Apply"): tree(PAUSED),
    }


def test_a_hold_that_a_restore_set_is_ours() -> None:
    remains = entry("cacherollout", "Update", PAUSED)
    back = ownership.handed_back([remains], [], is_paused=True)
    assert owned(back) == {("cacherollout", "Apply"): tree(PAUSED)}
    assert ownership.handed_back([remains], [], is_paused=False) == []


def test_of_our_own_entry_the_hold_alone_is_left() -> None:
    assert ownership.is_template_ours(manifest(OURS, HELM))
    cut = ownership.with_hold_alone([OURS, HELM])
    assert owned(cut) == {("cacherollout", "Apply"): tree(PAUSED), ("helm", "Apply"): tree(IMAGE)}
    assert not ownership.is_template_ours(manifest(*cut))
    assert ownership.with_hold_alone([entry("cacherollout", "Apply", IMAGE)]) == []


def test_an_owner_that_had_left_comes_back_with_what_it_had() -> None:
    remains = entry("cacherollout", "Update", IMAGE)
    back = ownership.handed_back([remains], [HELM], is_paused=False)
    assert owned(back) == {("helm", "Apply"): tree(IMAGE)}


def test_what_somebody_wrote_after_the_restore_stays_theirs() -> None:
    remains = entry("cacherollout", "Update", (*CONTAINER, "f:command"))
    fixer = entry("kubectl", "Update", IMAGE)
    back = ownership.handed_back([remains, fixer], [HELM], is_paused=False)
    assert owned(back) == {("kubectl", "Update"): tree(IMAGE)}


def test_an_applier_inherits_what_it_had_taken_over_from_an_updater() -> None:
    updater = entry("helm", "Update", IMAGE, (*CONTAINER, "f:command"))
    other = entry("gitops", "Apply", REPLICAS)
    applier = entry("helm", "Apply", IMAGE)
    setter = entry("kubectl", "Update", (*CONTAINER, "f:command"))
    found = ownership.heirs([updater, other], [applier, setter])
    assert [each for each in found if each["fieldsV1"]] == [
        other,
        entry("helm", "Update", (*CONTAINER, "f:command")),
        applier,
    ]


def test_freeing_leaves_everybody_elses_entries() -> None:
    remains = entry("cacherollout", "Update", IMAGE)
    assert ownership.without_ours([OURS, HELM, remains]) == [HELM]
    assert ownership.is_owner(manifest(OURS))
    assert ownership.is_owner(manifest(remains))
    assert not ownership.is_owner(manifest(HELM))


names = st.sampled_from(["f:a", "f:b", "f:c", 'k:{"name":"x"}'])
paths = st.lists(names, min_size=1, max_size=4).map(lambda path: (*TEMPLATE, *path))


@given(st.sets(paths, min_size=1, max_size=8))
def test_members_survive_the_way_through_a_tree_even_above_other_members(
    members: set[tuple[str, ...]],
) -> None:
    given_entry = {"manager": "helm", "operation": "Apply", "fieldsV1": {}}
    remains = {"manager": "cacherollout", "operation": "Update", "fieldsV1": {}}
    spelled = ownership._with_paths(given_entry, members)
    assert ownership._paths_of(spelled) == members
    written = ownership._with_paths(remains, members)
    back = ownership.handed_back([written], [spelled], is_paused=False)
    assert [ownership._paths_of(each) for each in back] == [members]
