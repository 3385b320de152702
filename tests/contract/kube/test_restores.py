"""A late roll-back: the template comes back, and so do the owners of its fields."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cacherollout.adapters.kube import ownership, targets
from cacherollout.adapters.kube.resources import CONTROLLER_REVISIONS
from cacherollout.core.actions import ApplyTarget, FreeTarget, KeepSnapshot, RestoreTarget
from cacherollout.ports.errors import ConflictError, DependencyError
from tests.contract.kube.conftest import ROOT, Team, deployment
from tests.contract.kube.test_holds import hold, target_of

STABLE = deployment(env={"MODE": "old", "KEPT": "1"})
REJECTED = deployment(env={"MODE": "new", "ADDED": "1"})
NEXT = deployment(env={"MODE": "newest", "KEPT": "2"})


async def restore(
    team: Team, revision: str, entry: str | None = None, *, is_paused: bool = True
) -> None:
    for _ in range(10):
        target = target_of(await team.observe())
        try:
            await team.act(RestoreTarget(revision, entry, is_paused, target.resource_version))
        except ConflictError:
            continue
        return
    raise AssertionError("the target never came to rest")


async def promote(team: Team, entry: str = "v2") -> None:
    """The release reaches every pod, with the operator's version entry."""
    await hold(team, entry, is_paused=False)
    await team.until(
        lambda seen: target_of(seen).is_complete and {p.version for p in seen.pods} == {entry}
    )


def env_of(manifest: dict[str, Any]) -> dict[str, str]:
    entries = manifest["spec"]["template"]["spec"]["containers"][0].get("env") or []
    return {each["name"]: each["value"] for each in entries}


def owners_of(manifest: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["manager"], each["operation"]) for each in ownership.entries_of(manifest)}


async def test_server_side_apply_by_the_owner_needs_no_force_after_a_restore(team: Team) -> None:
    team.apply_server_side(STABLE)
    stable = target_of(await team.settled())
    await team.act(KeepSnapshot(stable.revision))
    await hold(team)
    pods = {pod.uid for pod in (await team.observe()).pods}
    team.apply_server_side(REJECTED)
    rejected = target_of(await team.observe())
    await restore(team, stable.revision)

    live = await team.live()
    assert env_of(live) == {"MODE": "old", "KEPT": "1"}
    assert not ownership.has_remains(live)
    assert target_of(await team.observe()).revision == stable.revision
    assert {pod.uid for pod in (await team.observe()).pods} == pods

    team.apply_server_side(REJECTED)  # a sync that insists stays held, as the same release
    assert target_of(await team.observe()).revision == rejected.revision
    await restore(team, stable.revision)
    team.apply_server_side(NEXT)
    assert env_of(await team.live()) == {"MODE": "newest", "KEPT": "2"}
    assert target_of(await team.observe()).is_paused


async def test_a_promoted_release_is_restored_with_our_entry_and_old_pods_come_back(
    team: Team,
) -> None:
    team.apply_server_side(STABLE)
    await team.settled()
    await promote(team, "v1")
    stable = target_of(await team.observe())
    await team.act(KeepSnapshot(stable.revision))
    await hold(team, "v1")
    team.apply_server_side(REJECTED)
    await promote(team, "v2")
    await restore(team, stable.revision, "v1", is_paused=False)
    seen = await team.until(
        lambda seen: target_of(seen).is_complete and {p.version for p in seen.pods} == {"v1"}
    )
    target = target_of(seen)
    assert (target.revision, target.stated_version) == (stable.revision, None)
    assert (target.running_version, target.is_paused) == ("v1", False)
    live = await team.live()
    assert env_of(live) == {"MODE": "old", "KEPT": "1", "CACHE_VERSION": "v1"}
    # The very same ReplicaSet is scaled up again: nothing of the template was lost on the way.
    assert len({each.revision for each in seen.pods}) == 1
    sets = team.kubectl("get", "replicasets", "-o", "name").split()
    assert len(sets) == 3  # without an entry, with v1, and the rejected one

    await hold(team, "v1")
    team.apply_server_side(NEXT)
    assert env_of(await team.live()) == {"MODE": "newest", "KEPT": "2", "CACHE_VERSION": "v1"}


async def test_client_side_apply_goes_on_after_a_restore(team: Team) -> None:
    team.apply(STABLE)
    stable = target_of(await team.settled())
    await team.act(KeepSnapshot(stable.revision))
    await hold(team)
    team.apply(REJECTED)
    rejected = target_of(await team.observe())
    await restore(team, stable.revision)
    live = await team.live()
    assert env_of(live) == {"MODE": "old", "KEPT": "1"}
    assert ("kubectl-client-side-apply", "Update") in owners_of(live)

    team.apply(REJECTED)  # a sync that insists stays held, as the same release
    again = target_of(await team.observe())
    assert (again.revision, again.is_paused) == (rejected.revision, True)
    team.apply(NEXT)
    assert env_of(await team.live()) == {"MODE": "newest", "KEPT": "2"}


async def test_a_release_by_another_hand_gives_the_fields_back_to_the_first(team: Team) -> None:
    team.apply_server_side(STABLE)
    stable = target_of(await team.settled())
    await team.act(KeepSnapshot(stable.revision))
    await hold(team)
    team.kubectl("set", "env", "deployment/api", "MODE=hotfix")
    await restore(team, stable.revision)
    # Had the field stayed with kubectl, or with us, this would conflict.
    team.apply_server_side(NEXT)
    assert env_of(await team.live()) == {"MODE": "newest", "KEPT": "2"}


async def test_a_tool_that_has_begun_to_apply_from_the_server_goes_on(team: Team) -> None:
    team.apply(STABLE)
    stable = target_of(await team.settled())
    await team.act(KeepSnapshot(stable.revision))
    await hold(team)
    arguments = ("apply", "--server-side", "--force-conflicts", "--field-manager=gitops")
    team.kubectl(*arguments, "-f", "-", given=REJECTED)
    await restore(team, stable.revision)
    assert env_of(await team.live())["MODE"] == "old"
    team.apply_server_side(deployment(env={"MODE": "newest", "ADDED": "2"}))
    assert env_of(await team.live())["MODE"] == "newest"


async def test_a_version_that_the_user_stated_comes_back_as_theirs(team: Team) -> None:
    team.apply_server_side(deployment(env={"CACHE_VERSION": "v1"}))
    stable = target_of(await team.settled())
    await team.act(KeepSnapshot(stable.revision))
    await hold(team)
    team.apply_server_side(deployment(env={"CACHE_VERSION": "v2"}))
    await restore(team, stable.revision)
    target = target_of(await team.observe())
    assert (target.stated_version, target.revision) == ("v1", stable.revision)
    team.apply_server_side(deployment(env={"CACHE_VERSION": "v3"}))
    assert target_of(await team.observe()).stated_version == "v3"


async def test_a_restore_that_was_cut_short_is_made_up_for_by_the_next_write(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCutError(Exception):
        pass

    async def cut(*_: object) -> None:
        raise PowerCutError

    async def interrupted() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(targets, "_hand_back", cut)
            with pytest.raises(PowerCutError):
                await restore(team, stable.revision)
        assert ownership.has_remains(await team.live())

    team.apply_server_side(STABLE)
    stable = target_of(await team.settled())
    await team.act(KeepSnapshot(stable.revision))
    await hold(team)

    team.apply_server_side(REJECTED)
    await interrupted()
    await hold(team)
    assert not ownership.has_remains(await team.live())
    team.apply_server_side(NEXT)

    await interrupted()
    await restore(team, stable.revision)
    assert not ownership.has_remains(await team.live())
    team.apply_server_side(NEXT)

    await interrupted()
    target = target_of(await team.observe())
    await team.act(FreeTarget(target.resource_version))
    assert not ownership.is_owner(await team.live())
    team.apply_server_side(NEXT)
    assert env_of(await team.live()) == {"MODE": "newest", "KEPT": "2"}


async def test_a_restore_applied_again_changes_nothing(team: Team) -> None:
    team.apply_server_side(STABLE)
    stable = target_of(await team.settled())
    await team.act(KeepSnapshot(stable.revision))
    await hold(team)
    team.apply_server_side(REJECTED)
    await restore(team, stable.revision)
    seen = await team.until(lambda seen: target_of(seen).is_complete)
    await restore(team, stable.revision)
    assert target_of(await team.observe()).resource_version == target_of(seen).resource_version


async def test_a_lost_snapshot_is_recovered_from_a_replica_set(team: Team) -> None:
    team.apply_server_side(STABLE)
    stable = target_of(await team.settled())
    await hold(team)
    team.apply_server_side(REJECTED)
    await restore(team, stable.revision)
    assert env_of(await team.live()) == {"MODE": "old", "KEPT": "1"}
    team.apply_server_side(NEXT)
    with pytest.raises(DependencyError, match="kept nowhere"):
        await restore(team, "0123456789")


async def test_a_snapshot_of_a_dead_namesake_is_not_used(team: Team) -> None:
    team.apply(STABLE)
    stable = target_of(await team.settled())
    name = f"api-{stable.revision}"
    await team.client.create(
        CONTROLLER_REVISIONS,
        team.namespace,
        {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": name, "labels": {"cacherollout.io/rollout": "api"}},
            "revision": 1,
            "data": {"template": {}},
        },
    )
    assert (await team.observe()).snapshots == frozenset()
    with pytest.raises(DependencyError, match="not of this rollout"):
        await team.act(KeepSnapshot(stable.revision))


def _helm() -> Path | None:
    found = ROOT / ".cluster/bin/helm"
    return found if found.exists() else None


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: api\nversion: 1.0.0\n",
    "templates/deployment.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  replicas: 1
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: api
          image: docker.io/cacherollout/pause:dev
          imagePullPolicy: Never
          env:
            {{- range $name, $value := .Values.env }}
            - {name: {{ $name }}, value: {{ $value | quote }}}
            {{- end }}
""",
}


@pytest.mark.skipif(_helm() is None, reason="no helm: run `python3 -m cluster tools` first")
@pytest.mark.parametrize("side", ["true", "false"], ids=["server-side", "client-side"])
async def test_helm_upgrades_go_on_after_a_restore(team: Team, tmp_path: Path, side: str) -> None:
    for name, text in CHART.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def upgrade(**env: str) -> None:
        values = [f"--set-string=env.{key}={value}" for key, value in env.items()]
        command = [str(_helm()), "upgrade", "--install", "api", str(tmp_path), *values]
        command += ["--kubeconfig", str(team.kubeconfig), "-n", team.namespace]
        command.append(f"--server-side={side}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    upgrade(MODE="old", KEPT="1")
    stable = target_of(await team.settled())
    await team.act(KeepSnapshot(stable.revision))
    await hold(team)
    upgrade(MODE="new", ADDED="1")
    await restore(team, stable.revision)
    assert env_of(await team.live()) == {"MODE": "old", "KEPT": "1"}
    upgrade(MODE="newest", KEPT="2")
    assert env_of(await team.live()) == {"MODE": "newest", "KEPT": "2"}
    assert target_of(await team.observe()).is_paused


async def test_the_hold_of_a_target_that_is_going_away_is_not_touched(team: Team) -> None:
    manifest = deployment()
    manifest["metadata"]["finalizers"] = ["example.com/stay"]
    team.apply(manifest)
    target = target_of(await team.settled())
    team.kubectl("delete", "deployment", "api", "--wait=false")
    try:
        assert (await team.observe()).target is None
        with pytest.raises(ConflictError):
            await team.act(ApplyTarget(True, None, target.resource_version))
    finally:
        patch = '{"metadata":{"finalizers":null}}'
        team.kubectl("patch", "deployment", "api", "--type=merge", "-p", patch)
