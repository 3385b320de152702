"""Errors of the engine become reasons of the contract, each with a fix."""

import pytest

from cacherollout.adapters.cache.families import engine_families
from cacherollout.adapters.cache.problems import ProblemError, problem_of
from cacherollout.api.reasons import Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.cache import (
    CacheError,
    ClusterDownError,
    Codec,
    CommandError,
    HeadroomError,
    NotReadyError,
    OutOfMemoryError,
    ReadOnlyError,
    RefusedError,
    TemplateError,
    TopologyError,
    UnansweredError,
    UnreachableError,
    Writes,
)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RefusedError, Reason.CACHE_ACCESS_DENIED),
        (CommandError, Reason.CACHE_ACCESS_DENIED),
        (HeadroomError, Reason.CACHE_FULL),
        (OutOfMemoryError, Reason.CACHE_FULL),
        (UnreachableError, Reason.CACHE_UNAVAILABLE),
        (UnansweredError, Reason.CACHE_UNAVAILABLE),
        (NotReadyError, Reason.CACHE_UNAVAILABLE),
        (ReadOnlyError, Reason.CACHE_UNAVAILABLE),
        (ClusterDownError, Reason.CACHE_UNAVAILABLE),
        (TopologyError, Reason.INVALID_SPEC),
        (TemplateError, Reason.INVALID_SPEC),
    ],
)
def test_every_error_has_a_reason_and_a_fix(error: type[CacheError], reason: Reason) -> None:
    problem = problem_of(error("x" * 10_000))
    assert problem.reason == reason
    assert len(problem.message) < 512
    assert problem.message.strip("x").startswith("; ")


def a_spec(**family: object) -> CacheRolloutSpec:
    given = {"name": "user", "key": "user:{version}:{id}", **family}
    return CacheRolloutSpec.model_validate(
        {
            "targetRef": {"name": "api"},
            "cache": {"backendRef": {"name": "main"}, "families": [given]},
        }
    )


def test_a_family_is_handed_to_the_engine_with_all_that_decides() -> None:
    spec = a_spec(required=["id"], writes="WriteThrough", ttl="100s")
    (family,) = engine_families(spec, ["user:"], {"user"})
    assert family.is_compatible
    assert family.required == ("id",)
    assert family.writes is Writes.WRITE_THROUGH
    assert family.codec is Codec.JSON
    assert family.ttl_seconds == pytest.approx(50), "TTLs may be scattered by half"
    (family,) = engine_families(a_spec(codec="opaque"), ["user:"])
    assert not family.is_compatible
    assert family.codec is Codec.RAW


def test_a_key_outside_the_prefixes_is_refused_by_its_field() -> None:
    with pytest.raises(ProblemError, match=r"cache\.families\[0\]\.key: .*'booking:'") as caught:
        engine_families(a_spec(), ["booking:", "users:"])
    assert caught.value.problem.reason == Reason.INVALID_SPEC
    assert "CacheBackend main" in caught.value.problem.message
