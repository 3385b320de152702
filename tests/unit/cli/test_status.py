"""How a watch ends, and with which exit code."""

from typing import Any

import pytest

from cacherollout.adapters.kube.observation import target_facts
from cacherollout.adapters.kube.readings import read_template
from cacherollout.api.ledger import Ledger, Release, dump_ledger
from cacherollout.api.reasons import Phase, Reason
from cacherollout.api.rollout import CacheRolloutSpec
from cacherollout.cli import status as module
from cacherollout.cli.status import outcome
from cacherollout.ports.errors import DependencyError
from tests.unit.cli.conftest import SPEC, FakeClient, a_deployment, a_rollout, call, put

ENDS = {Phase.SUCCEEDED: 0, Phase.IDLE: 0, Phase.ROLLED_BACK: 1}
WATCH = ("status", "api", "-n", "shop", "-w", "--timeout", "0")


def revision_of(image: str) -> str:
    spec = CacheRolloutSpec.model_validate(SPEC)
    manifest = a_deployment(image)
    return target_facts(manifest, read_template(manifest, spec), [], {}).revision


def ended(phase: Phase, image: str = "api:1", **ledger: Any) -> dict[str, Any]:
    """A rollout whose stable release has this image."""
    known = Ledger(target_uid="t", stable=Release(revision_of(image), "v1"), **ledger)
    return a_rollout(phase=phase, message=f"It is {phase}.", ledger=dump_ledger(known))


@pytest.mark.parametrize("phase", Phase)
def test_only_an_end_has_an_exit_code(phase: Phase) -> None:
    assert outcome(a_rollout(phase=phase)) == ENDS.get(phase)


def test_a_status_about_an_older_spec_is_no_end() -> None:
    assert outcome(a_rollout(phase=Phase.SUCCEEDED, observedGeneration=1)) is None


@pytest.mark.parametrize(("phase", "code"), ENDS.items())
def test_a_watch_ends_with_the_rollout(server: FakeClient, phase: Phase, code: int) -> None:
    put(server, ended(phase), a_deployment())
    ran = call(*WATCH)
    assert (ran.exit_code, server.is_closed) == (code, True)
    assert f"It is {phase}." in ran.output


def test_a_release_that_is_not_begun_yet_is_waited_for(server: FakeClient) -> None:
    """Just after a deployment, the status still praises the release before."""
    put(server, ended(Phase.SUCCEEDED), a_deployment("api:2"))
    assert call(*WATCH).exit_code == 2


def test_a_rejected_release_is_not_waited_for(server: FakeClient) -> None:
    rejected = Release(revision_of("api:2"), "v2")
    put(server, ended(Phase.ROLLED_BACK, rejected=rejected), a_deployment("api:2"))
    assert call(*WATCH).exit_code == 1


def test_a_rollout_under_way_times_out(server: FakeClient) -> None:
    put(server, ended(Phase.ANALYZING), a_deployment("api:2"))
    assert call(*WATCH).exit_code == 2


def test_a_watch_outlives_an_api_server_that_is_away(
    server: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    put(server, ended(Phase.ANALYZING), a_deployment())
    away = DependencyError(Reason.API_UNAVAILABLE, "The API server does not answer")
    server.answers = [ended(Phase.ANALYZING), away, ended(Phase.SUCCEEDED)]
    assert call("status", "api", "-n", "shop", "-w").exit_code == 0


def test_without_a_watch_the_last_end_is_told(server: FakeClient) -> None:
    put(server, ended(Phase.ANALYZING))
    assert call("status", "api", "-n", "shop").exit_code == 0
    put(server, ended(Phase.ROLLED_BACK))
    assert call("status", "api", "-n", "shop").exit_code == 1


def test_what_is_not_known_is_not_taken_for_a_roll_back(server: FakeClient) -> None:
    ran = call("status", "nope", "-n", "shop")
    assert ran.exit_code == 3
    assert "There is no CacheRollout nope in namespace shop." in ran.output
    server.answers = [DependencyError(Reason.FORBIDDEN, "The API server denies it")]
    ran = call("status", "api", "-n", "shop")
    assert (ran.exit_code, "denies it" in ran.output) == (3, True)
