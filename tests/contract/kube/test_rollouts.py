"""The CacheRollout itself on a real API server: status, finalizer, requests, rivals, events."""

import pytest

from cacherollout.adapters.kube import KubeObjects, KubeRecorder
from cacherollout.adapters.kube.resources import EVENTS, ROLLOUTS
from cacherollout.api import names
from cacherollout.api.reasons import Reason
from cacherollout.core.actions import AddFinalizer, ConsumeRequest, RemoveFinalizer
from cacherollout.core.decisions import Say
from cacherollout.core.facts import Request
from cacherollout.ports.errors import ConflictError
from tests.contract.kube.conftest import Team, deployment, eventually, rollout, spec_of


async def test_a_status_is_written_whole_and_nothing_old_is_left_in_it(team: Team) -> None:
    found = await team.rollout()
    first = {"phase": "Idle", "message": "one", "next": "two", "ledger": {"attempts": 1}}
    written = await team.workloads.write_status(found, first)
    assert written.status == first
    second = {"phase": "Warming", "message": "three"}
    written = await team.workloads.write_status(written, second)
    assert (await team.rollout()).status == second
    assert written.generation == found.generation


async def test_a_status_from_a_stale_look_is_refused(team: Team) -> None:
    stale = await team.rollout()
    await team.workloads.write_status(stale, {"message": "first"})
    with pytest.raises(ConflictError):
        await team.workloads.write_status(stale, {"message": "second"})


async def test_the_finalizer_holds_the_rollout_and_others_finalizers_stay(team: Team) -> None:
    await team.rollout()
    patch = '{"metadata":{"finalizers":["example.com/other"]}}'
    team.kubectl("patch", "cacherollout", "api", "--type=merge", "-p", patch)
    await team.act(AddFinalizer())
    await team.act(AddFinalizer())
    live = await team.live(resource=ROLLOUTS)
    assert live["metadata"]["finalizers"] == ["example.com/other", names.FINALIZER]
    team.kubectl("delete", "cacherollout", "api", "--wait=false")
    found = await team.rollout()
    assert (found.is_deleting, found.has_finalizer) == (True, True)
    await team.act(RemoveFinalizer())
    live = await team.live(resource=ROLLOUTS)
    assert live["metadata"]["finalizers"] == ["example.com/other"]
    await team.act(AddFinalizer())  # nothing can be added to what is going away
    team.kubectl(
        "patch", "cacherollout", "api", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}'
    )
    gone = await eventually(lambda: team.workloads.read(found.key), lambda seen: seen is None)
    assert gone is None
    await team.workloads.apply(found, spec_of(found), RemoveFinalizer())
    with pytest.raises(ConflictError):
        await team.workloads.apply(found, spec_of(found), AddFinalizer())


async def test_a_request_is_consumed_once_and_a_newer_one_is_left(team: Team) -> None:
    await team.rollout()
    team.kubectl("annotate", "cacherollout", "api", f"{names.ANNOTATION_REQUEST}=promote/abc123")
    seen = await team.observe()
    assert seen.request == Request("promote", "abc123", "promote/abc123")
    team.kubectl(
        "annotate", "cacherollout", "api", "--overwrite", f"{names.ANNOTATION_REQUEST}=abort"
    )
    with pytest.raises(ConflictError):
        await team.act(ConsumeRequest("promote/abc123"))
    assert (await team.observe()).request == Request("abort", None, "abort")
    await team.act(ConsumeRequest("abort"))
    assert (await team.observe()).request is None


async def test_the_older_of_two_rollouts_on_one_target_keeps_it(team: Team) -> None:
    team.apply(deployment())
    await team.rollout()
    await team.client.create(ROLLOUTS, team.namespace, rollout("zebra"))
    await team.client.create(ROLLOUTS, team.namespace, rollout("other", target="other"))
    assert (await team.observe()).problem is None
    team.rollout_name = "zebra"
    problem = (await team.observe()).problem
    assert problem is not None
    assert problem.reason == Reason.TARGET_CONFLICT
    assert "CacheRollout api is older" in problem.message
    team.rollout_name = "other"
    assert (await team.observe()).problem is None


async def test_a_rollout_in_a_dying_namespace_sees_nothing_to_write_to(team: Team) -> None:
    team.apply(deployment())
    await team.settled()
    await team.act(AddFinalizer())
    team.kubectl("delete", "namespace", team.namespace, "--wait=false")
    found = await eventually(team.rollout, lambda found: found.is_deleting)
    seen = await team.workloads.observe(found, spec_of(found))
    assert (seen.is_deleting, seen.target, seen.canary) == (True, None, None)
    await team.act(RemoveFinalizer())


async def test_the_same_event_counts_up_and_another_does_not(team: Team) -> None:
    now = 1_800_000_000.0
    recorder = KubeRecorder(team.client, clock=lambda: now)
    found = await team.rollout()
    await recorder.say(found, Say(Reason.ADOPTED, "The target is held."))
    await recorder.say(found, Say(Reason.ADOPTED, "The target is held."))
    await recorder.say(found, Say(Reason.GATE_FAILED, "x" * 2000, is_warning=True))
    events = {each["reason"]: each for each in await team.client.select(EVENTS, team.namespace)}
    adopted, failed = events["Adopted"], events["GateFailed"]
    assert (adopted["count"], adopted["type"]) == (2, "Normal")
    assert adopted["involvedObject"]["uid"] == found.uid
    assert (failed["count"], failed["type"], len(failed["message"])) == (1, "Warning", 1024)
    assert "Adopted" in team.kubectl("describe", "cacherollout", "api")

    now += 601
    await recorder.say(found, Say(Reason.ADOPTED, "The target is held."))
    events_now = await team.client.select(EVENTS, team.namespace)
    assert sorted(each["reason"] for each in events_now) == ["Adopted", "Adopted", "GateFailed"]


async def test_an_event_that_expired_on_the_server_is_posted_anew(team: Team) -> None:
    recorder = KubeRecorder(team.client, clock=lambda: 1_800_000_000.0)
    found = await team.rollout()
    await recorder.say(found, Say(Reason.ADOPTED, "The target is held."))
    team.kubectl("delete", "events", "--all")
    await recorder.say(found, Say(Reason.ADOPTED, "The target is held."))
    (event,) = await team.client.select(EVENTS, team.namespace)
    assert event["count"] == 1


async def test_an_event_that_cannot_be_posted_fails_nobody(
    team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = KubeRecorder(team.client, clock=lambda: 1_800_000_000.0)
    found = await team.rollout()
    elsewhere = found.key._replace(namespace="nowhere")
    lost = type(found)(elsewhere, found.uid, 1, found.resource_version, False, False, {}, {}, {})
    await recorder.say(lost, Say(Reason.ADOPTED, "The target is held."))
    assert "was not posted" in caplog.text


async def test_backends_and_secrets_are_read_one_by_one(team: Team) -> None:
    objects = KubeObjects(team.client)
    backend = {
        "apiVersion": names.API_VERSION,
        "kind": names.BACKEND_KIND,
        "metadata": {"name": "main"},
        "spec": {"redis": {"address": "redis:6379"}, "keyPrefixes": ["user:"]},
    }
    team.kubectl("apply", "-f", "-", given=backend)
    team.kubectl("create", "secret", "generic", "redis", "--from-literal=password=sesame")
    found = await objects.get_backend(team.namespace, "main")
    assert found is not None
    assert found["spec"]["redis"]["address"] == "redis:6379"
    assert await objects.get_secret(team.namespace, "redis") == {"password": b"sesame"}
    assert await objects.get_backend(team.namespace, "other") is None
    assert await objects.get_secret(team.namespace, "other") is None
