from copy import deepcopy
from typing import Any

import pytest

from cacherollout.ports.errors import SpecError
from cacherollout.shell.specs import parse, salvage
from tests.unit.shell.fakes import SPEC


def spec(**changes: Any) -> dict[str, Any]:
    return {**deepcopy(SPEC), **changes}


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (spec(soak="soon"), "spec.soak: "),
        (spec(targetRef={}), "spec.targetRef.name: "),
        (spec(gates={"cacheHitRate": {"target": "0.8"}}), "spec.gates.cacheHitRate.target: "),
        (
            spec(cache={**SPEC["cache"], "families": [{"name": "user", "key": "user"}]}),
            "spec.cache.families[0].key: ",
        ),
    ],
)
def test_a_refusal_names_the_field_as_it_is_written(wrong: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse(wrong)
    assert str(refused.value).startswith(path)


def test_a_refusal_says_how_many_more_there_are() -> None:
    with pytest.raises(SpecError, match=r"\(1 more field is wrong\)$"):
        parse(spec(soak="soon", deadline="later"))


def test_salvage_keeps_the_readable_and_takes_defaults_for_the_rest() -> None:
    good = {"name": "user", "key": "user:{version}:{id}"}
    wrong = spec(
        soak="soon",
        deadline="later",
        cache={**SPEC["cache"], "families": [{"name": "x"}, good], "env": "PATH"},
    )
    kept = salvage(wrong)
    assert kept is not None
    assert kept.target_ref.name == "api"
    assert [family.name for family in kept.cache.families] == ["user"]
    assert kept.cache.env == "CACHE_VERSION"
    assert kept.soak == 300.0


def test_a_broken_rule_between_fields_does_not_stop_the_salvage() -> None:
    kept = salvage(spec(soak="2h", deadline="1m", gates={"cacheLatency": {"p95": "9s"}}))
    assert kept is not None
    assert kept.target_ref.name == "api"


def test_without_a_target_nothing_can_be_salvaged() -> None:
    assert salvage(spec(targetRef={})) is None
    assert salvage({}) is None
