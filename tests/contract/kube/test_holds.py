"""The hold on the user's Deployment: what it stops, and that it conflicts with nobody."""

import pytest

from cacherollout.adapters.kube import ownership
from cacherollout.adapters.kube.resources import CONTROLLER_REVISIONS
from cacherollout.core.actions import (
    ApplyTarget,
    DropSnapshots,
    FreeTarget,
    KeepSnapshot,
)
from cacherollout.core.facts import Observed, TargetFacts
from cacherollout.ports.errors import ConflictError, SpecError
from tests.contract.kube.conftest import Team, deployment, eventually


def target_of(seen: Observed) -> TargetFacts:
    assert seen.target is not None
    return seen.target


async def hold(team: Team, entry: str | None = None, *, is_paused: bool = True) -> None:
    """Hold as the shell does: on the newest resource version, again where somebody else wrote."""
    for _ in range(10):
        target = target_of(await team.observe())
        try:
            await team.act(ApplyTarget(is_paused, entry, target.resource_version))
        except ConflictError:
            continue
        return
    raise AssertionError("the target never came to rest")


async def test_a_running_target_is_seen_complete_with_its_pods(team: Team) -> None:
    team.apply(deployment(replicas=2))
    seen = await team.settled()
    target = target_of(seen)
    assert (target.replicas, target.ready, target.updated, target.updated_ready) == (2, 2, 2, 2)
    assert not target.is_paused
    assert not target.is_owned
    assert (target.stated_version, target.running_version, target.container) == (None, None, "api")
    assert {pod.revision for pod in seen.pods} == {target.revision}
    assert all(pod.is_ready and pod.ip and pod.metrics_port == 8000 for pod in seen.pods)
    assert not any(pod.is_canary for pod in seen.pods)


async def test_a_missing_target_is_a_fact(team: Team) -> None:
    seen = await team.observe()
    assert seen.target is None
    assert seen.canary is None
    assert seen.pods == ()


async def test_a_held_target_ignores_a_release_and_still_scales(team: Team) -> None:
    team.apply(deployment())
    before = target_of(await team.settled())
    await hold(team)
    team.apply(deployment(replicas=2, env={"MODE": "new"}))
    seen = await team.until(lambda seen: target_of(seen).ready == 2)
    target = target_of(seen)
    assert target.is_paused
    assert target.revision != before.revision
    assert (target.updated, target.is_complete) == (0, False)
    assert {pod.revision for pod in seen.pods} == {before.revision}


async def test_the_hold_of_a_stale_look_fails(team: Team) -> None:
    team.apply(deployment())
    stale = target_of(await team.settled())
    await hold(team)
    with pytest.raises(ConflictError):
        await team.act(ApplyTarget(False, None, stale.resource_version))
    assert target_of(await team.observe()).is_paused


async def test_the_hold_survives_both_ways_of_applying_the_same_manifest(team: Team) -> None:
    team.apply_server_side(deployment())
    await team.settled()
    await hold(team, "v7")
    team.apply_server_side(deployment(env={"MODE": "new"}))
    target = target_of(await team.observe())
    assert (target.is_paused, target.running_version, target.stated_version) == (True, "v7", None)

    team.kubectl("delete", "deployment", "api", "--wait")
    team.apply(deployment())
    await team.settled()
    await hold(team, "v7")
    team.apply(deployment(env={"MODE": "new"}))
    target = target_of(await team.observe())
    assert (target.is_paused, target.running_version, target.stated_version) == (True, "v7", None)


async def test_our_version_entry_is_no_release_and_somebody_elses_is(team: Team) -> None:
    team.apply(deployment())
    before = target_of(await team.settled())
    await hold(team, "v2")
    ours = target_of(await team.observe())
    assert (ours.revision, ours.running_version, ours.stated_version) == (
        before.revision,
        "v2",
        None,
    )
    team.apply(deployment(env={"CACHE_VERSION": "v3"}))
    theirs = target_of(await team.observe())
    assert (theirs.running_version, theirs.stated_version) == ("v3", "v3")
    assert theirs.revision != before.revision


async def test_a_user_may_begin_to_state_the_version_and_may_rename_the_container(
    team: Team,
) -> None:
    team.apply_server_side(deployment())
    await team.settled()
    await hold(team, "v2")
    team.apply_server_side(deployment(env={"CACHE_VERSION": "v5"}))
    target = target_of(await team.observe())
    assert (target.stated_version, target.is_paused) == ("v5", True)
    team.apply_server_side(deployment())
    await hold(team, "v2")
    renamed = deployment()
    renamed["spec"]["template"]["spec"]["containers"][0]["name"] = "web"
    team.apply_server_side(renamed)
    target = target_of(await team.observe())
    assert (target.container, target.running_version, target.is_paused) == ("web", None, True)


async def test_the_hold_alone_is_owned_and_setting_it_again_writes_nothing(team: Team) -> None:
    team.apply_server_side(deployment())
    await team.settled()
    await hold(team, "v2")
    live = await team.live()
    owned = [each for each in ownership.entries_of(live) if each["manager"] == "cacherollout"]
    assert [each["fieldsV1"] for each in owned] == [{"f:spec": {"f:paused": {}}}]

    async def is_written_again() -> bool:
        before = target_of(await team.observe()).resource_version
        await hold(team, "v2")
        return target_of(await team.observe()).resource_version != before

    # The Deployment's controller may still write the status; a hold that writes would never end.
    await eventually(is_written_again, lambda is_written: not is_written, seconds=5.0)


async def test_pods_of_either_entry_keep_the_revision_that_they_were_released_as(
    team: Team,
) -> None:
    team.apply(deployment())
    first = target_of(await team.settled())
    await team.act(KeepSnapshot(first.revision))
    await hold(team, "v2", is_paused=False)
    seen = await team.until(
        lambda seen: target_of(seen).is_complete and {p.version for p in seen.pods} == {"v2"}
    )
    assert {pod.revision for pod in seen.pods} == {first.revision}
    await hold(team, "v2")
    team.apply(deployment(env={"CACHE_VERSION": "v3"}))
    seen = await team.observe()
    assert target_of(seen).revision != first.revision
    assert {pod.revision for pod in seen.pods} == {first.revision}


async def test_a_version_that_is_not_literal_is_refused_with_the_fix(team: Team) -> None:
    manifest = deployment()
    source = {"fieldRef": {"fieldPath": "metadata.name"}}
    manifest["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "CACHE_VERSION", "valueFrom": source}
    ]
    team.apply(manifest)
    with pytest.raises(SpecError, match="valueFrom"):
        await team.observe()


async def test_a_restart_is_told_from_a_release(team: Team) -> None:
    team.apply(deployment())
    before = target_of(await team.settled())
    await hold(team)
    # kubectl refuses to restart what is paused; tools that patch the mark themselves do not.
    mark = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    patch = (
        f'{{"spec":{{"template":{{"metadata":{{"annotations":{{"{next(iter(mark))}":"x"}}}}}}}}}}'
    )
    team.kubectl("patch", "deployment", "api", "-p", patch)
    target = target_of(await team.observe())
    assert (target.is_restart, target.revision) == (True, before.revision)
    await hold(team, is_paused=False)
    target = target_of(await team.settled())
    assert (target.is_restart, target.revision) == (False, before.revision)


async def test_freeing_leaves_the_version_and_restarts_no_pod(team: Team) -> None:
    team.apply_server_side(deployment())
    await team.settled()
    await hold(team, "v2", is_paused=False)
    seen = await team.until(
        lambda seen: target_of(seen).is_complete and {p.version for p in seen.pods} == {"v2"}
    )
    uids = {pod.uid for pod in seen.pods}
    await hold(team, "v2")
    held = target_of(await team.until(lambda seen: target_of(seen).is_complete))
    await team.act(FreeTarget(held.resource_version))
    seen = await team.until(lambda seen: target_of(seen).is_complete)
    freed = target_of(seen)
    assert (freed.is_paused, freed.is_owned, freed.running_version) == (False, False, "v2")
    assert {pod.uid for pod in seen.pods} == uids
    # Nobody's value is nobody's request: the next CacheRollout may count on from it.
    assert (freed.stated_version, freed.revision) == (None, held.revision)
    team.apply_server_side(deployment(env={"CACHE_VERSION": "v9"}))
    assert target_of(await team.observe()).stated_version == "v9"


async def test_a_snapshot_is_of_the_revision_that_was_asked_for_or_not_taken(team: Team) -> None:
    team.apply(deployment())
    first = target_of(await team.settled())
    await team.act(KeepSnapshot(first.revision))
    await team.act(KeepSnapshot(first.revision))
    assert (await team.observe()).snapshots == {first.revision}
    with pytest.raises(ConflictError):
        await team.act(KeepSnapshot("0123456789"))
    await hold(team)
    team.apply(deployment(env={"MODE": "new"}))
    second = target_of(await team.observe())
    await team.act(KeepSnapshot(second.revision))
    assert (await team.observe()).snapshots == {first.revision, second.revision}
    await team.act(DropSnapshots(frozenset({second.revision})))
    assert (await team.observe()).snapshots == {second.revision}
    kept = await team.client.select(CONTROLLER_REVISIONS, team.namespace)
    assert [each["metadata"]["ownerReferences"][0]["controller"] for each in kept] == [True]
