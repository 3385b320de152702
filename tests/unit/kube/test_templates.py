"""Pod templates: one release, one revision, wherever it is read from."""

import copy
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacherollout.adapters.kube import templates
from cacherollout.api import names
from cacherollout.ports.errors import SpecError

ENV = "CACHE_VERSION"
Template = dict[str, Any]


def template(*containers: dict[str, Any], **metadata: Any) -> Template:
    return {
        "metadata": {"labels": {"app": "api"}, **metadata},
        "spec": {"containers": list(containers or (container(),))},
    }


def container(name: str = "api", **env: str) -> dict[str, Any]:
    part: dict[str, Any] = {"name": name, "image": "api:1", "resources": {}}
    if env:
        part["env"] = [{"name": key, "value": value} for key, value in env.items()]
    return part


def revision(of: Template, *, is_env_ours: bool = True) -> str:
    return templates.revision_of(of, "api", ENV, is_env_ours=is_env_ours)


PLAIN = revision(template())

SAME = {
    "a label with the hash of its ReplicaSet": template(
        labels={"app": "api", "pod-template-hash": "5d4f"}
    ),
    "a restart mark": template(annotations={names.RESTARTED_AT: "2026-01-01"}),
    "our own version entry": template(container(CACHE_VERSION="v2")),
    "an empty list of variables": template({**container(), "env": []}),
    "a creation time of nothing": template(creationTimestamp=None),
    "empty annotations": template(annotations={}),
    "the canary's labels and gate": templates.canary_template(
        template(), "api", ENV, rollout="api", version="v2"
    ),
}
OTHER = {
    "another image": template({**container(), "image": "api:2"}),
    "another variable": template(container(MODE="new")),
    "a version entry of another container": template(
        container(), {**container("sidecar"), "env": [{"name": ENV, "value": "v2"}]}
    ),
    "another label": template(labels={"app": "api", "tier": "web"}),
    "another annotation": template(annotations={"a": "b"}),
    "a readiness gate of the user's": {
        **template(),
        "spec": {**template()["spec"], "readinessGates": [{"conditionType": "example.com/x"}]},
    },
}


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
def test_no_release_is(same: Template) -> None:
    assert revision(same) == PLAIN


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER)
def test_a_release_is(other: Template) -> None:
    assert revision(other) != PLAIN


def test_a_version_entry_of_the_users_is_a_release() -> None:
    stated = template(container(CACHE_VERSION="v2"))
    assert revision(stated, is_env_ours=False) != PLAIN
    assert revision(stated, is_env_ours=False) != revision(
        template(container(CACHE_VERSION="v3")), is_env_ours=False
    )


def test_a_revision_can_be_part_of_a_name_and_changes_nothing_that_it_reads() -> None:
    given_template = template(container(CACHE_VERSION="v2"))
    before = copy.deepcopy(given_template)
    found = revision(given_template)
    assert found == found.lower()
    assert len(found) == templates.REVISION_LENGTH
    assert found.isalnum()
    assert given_template == before


values = st.text(alphabet="abcxyz019", min_size=1, max_size=5)


@st.composite
def any_templates(draw: st.DrawFn) -> Template:
    env = draw(st.dictionaries(values.filter(lambda key: key != ENV), values, max_size=3))
    annotations = draw(st.dictionaries(values, values, max_size=3))
    labels = draw(st.dictionaries(values, values, max_size=3))
    return template(container(**env), labels={"app": "api", **labels}, annotations=annotations)


def shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    if isinstance(value, list):
        return [shuffled(each, rng) for each in value]
    return value


@given(any_templates(), values, st.randoms(use_true_random=False))
def test_a_revision_does_not_depend_on_order_entry_restarts_or_where_it_is_read(
    one: Template, version: str, rng: random.Random
) -> None:
    expected = revision(one)
    assert revision(shuffled(one, rng)) == expected
    held = templates.with_version(one, "api", ENV, version)
    assert revision(held) == expected
    restarted = copy.deepcopy(held)
    restarted["metadata"].setdefault("annotations", {})[names.RESTARTED_AT] = version
    assert revision(restarted) == expected
    replica_set = copy.deepcopy(restarted)
    replica_set["metadata"]["labels"]["pod-template-hash"] = version
    assert revision(replica_set) == expected
    canary = templates.canary_template(replica_set, "api", ENV, rollout="x", version=version)
    assert revision(canary) == expected


@dataclass(frozen=True)
class Choice:
    template: Template
    named: str | None = None
    chosen: str | None = None
    refusal: str = ""


CHOICES = {
    "the only container": Choice(template(container("web")), chosen="web"),
    "the only one of two that has the variable": Choice(
        template(container("proxy"), container("web", CACHE_VERSION="v1")), chosen="web"
    ),
    "the named one of two": Choice(
        template(container("proxy"), container("web")), named="proxy", chosen="proxy"
    ),
    "a name that is not there": Choice(
        template(container("proxy"), container("web")),
        named="api",
        refusal="targetRef.container: 'api' is not in the target's template; use one of proxy, web",
    ),
    "two of which neither has it": Choice(
        template(container("proxy"), container("web")),
        refusal="targetRef.container is missing: proxy, web could each read CACHE_VERSION",
    ),
    "two of three that have it": Choice(
        template(
            container("proxy"),
            container("web", CACHE_VERSION="v1"),
            container("job", CACHE_VERSION="v1"),
        ),
        refusal="targetRef.container is missing: web, job could each read CACHE_VERSION",
    ),
}


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_the_container_of_the_version_is(choice: Choice) -> None:
    if choice.refusal:
        with pytest.raises(SpecError, match=choice.refusal):
            templates.version_container(choice.template, ENV, choice.named)
    else:
        found = templates.version_container(choice.template, ENV, choice.named)
        assert found == choice.chosen


def test_a_version_is_read_set_and_removed_in_its_place() -> None:
    start = template(container(A="1", CACHE_VERSION="v1", B="2"), container("sidecar"))
    assert templates.version_in(start, "api", ENV) == "v1"
    assert templates.version_in(start, "sidecar", ENV) is None
    changed = templates.with_version(start, "api", ENV, "v2")
    assert changed["spec"]["containers"] == [
        container(A="1", CACHE_VERSION="v2", B="2"),
        container("sidecar"),
    ]
    removed = templates.with_version(start, "api", ENV, None)
    assert removed["spec"]["containers"][0] == container(A="1", B="2")
    assert templates.version_in(start, "api", ENV) == "v1"


def test_an_empty_version_is_none() -> None:
    assert templates.version_in(template(container(CACHE_VERSION="")), "api", ENV) is None


def test_a_version_from_elsewhere_is_refused_with_the_fix() -> None:
    part = {**container(), "env": [{"name": ENV, "valueFrom": {"fieldRef": {}}}]}
    with pytest.raises(SpecError, match="write it as a literal value"):
        templates.version_in(template(part), "api", ENV)


def test_a_canary_template_is_the_whole_release_with_version_gate_and_labels() -> None:
    user_gate = {"conditionType": "example.com/warm"}
    start = template(
        container(CACHE_VERSION="v1", MODE="new"),
        labels={"app": "api", "pod-template-hash": "5d4f"},
        annotations={names.RESTARTED_AT: "2026", "a": "b"},
    )
    start["spec"]["readinessGates"] = [user_gate]
    canary = templates.canary_template(start, "api", ENV, rollout="shop", version="v2")
    assert canary["metadata"] == {
        "labels": {"app": "api", names.LABEL_CANARY: "shop", names.LABEL_ROLLOUT: "shop"},
        "annotations": {"a": "b"},
    }
    assert canary["spec"]["readinessGates"] == [
        user_gate,
        {"conditionType": names.READINESS_GATE},
    ]
    assert canary["spec"]["containers"] == [container(CACHE_VERSION="v2", MODE="new")]


def test_a_restart_is_a_mark_and_nothing_else() -> None:
    plain = template()
    marked = template(annotations={names.RESTARTED_AT: "2026"})
    other = template({**container(), "image": "api:2"}, annotations={names.RESTARTED_AT: "2026"})
    assert templates.is_restart_of(marked, plain)
    assert not templates.is_restart_of(plain, plain)
    assert not templates.is_restart_of(other, plain)
