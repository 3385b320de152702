from typing import Any

from cacherollout.api.names import LABEL_ROLLOUT, Key, label_value
from cacherollout.shell.wakeups import Wakeups

API, OTHER = Key("shop", "api"), Key("shop", "other")


def stored(key: Key, *, target: str = "web", backend: str = "main", **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": key.namespace, "name": key.name, "generation": 1, **meta},
        "spec": {"targetRef": {"name": target}, "cache": {"backendRef": {"name": backend}}},
    }


def thing(name: str, namespace: str = "shop", **labels: str) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}}


def known(*bodies: dict[str, Any]) -> Wakeups:
    wakeups = Wakeups()
    for body in bodies:
        wakeups.of_rollout(None, body)
    return wakeups


def test_a_rollout_wakes_itself_when_its_spec_changes() -> None:
    wakeups = known(stored(API))
    assert wakeups.of_rollout("MODIFIED", stored(API, generation=2)) == (API,)


def test_our_own_status_writes_wake_nobody() -> None:
    wakeups = known(stored(API))
    body = {**stored(API, resourceVersion="99"), "status": {"phase": "Idle"}}
    assert wakeups.of_rollout("MODIFIED", body) == ()


def test_a_request_a_deletion_and_a_finalizer_wake() -> None:
    for change in (
        {"annotations": {"cacherollout.io/request": "abort"}},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        {"finalizers": ["cacherollout.io/undo"]},
    ):
        assert known(stored(API)).of_rollout("MODIFIED", stored(API, **change)) == (API,)


def test_every_rollout_is_looked_at_when_watching_starts_again() -> None:
    wakeups = known(stored(API))
    assert wakeups.of_rollout(None, stored(API)) == (API,)


def test_a_target_wakes_whoever_names_it_in_its_namespace() -> None:
    wakeups = known(stored(API), stored(OTHER, target="worker"), stored(Key("test", "api")))
    assert wakeups.of_deployment(thing("web")) == (API,)
    assert wakeups.of_deployment(thing("unrelated")) == ()


def test_a_canary_wakes_its_owner() -> None:
    wakeups = known(stored(API))
    assert wakeups.of_deployment(thing("web-canary", **{LABEL_ROLLOUT: "api"})) == (API,)
    assert wakeups.of_pod(thing("web-canary-x", **{LABEL_ROLLOUT: "api"})) == (API,)
    assert wakeups.of_pod(thing("web-canary-x", "test", **{LABEL_ROLLOUT: "api"})) == ()


def test_a_name_too_long_for_a_label_is_found_by_its_digest() -> None:
    long = Key("shop", "a" * 200)
    wakeups = known(stored(long))
    assert wakeups.of_pod(thing("pod", **{LABEL_ROLLOUT: label_value(long.name)})) == (long,)


def test_a_backend_wakes_all_who_use_it() -> None:
    wakeups = known(stored(API), stored(OTHER), stored(Key("shop", "third"), backend="spare"))
    assert wakeups.of_backend(thing("main")) == (API, OTHER)


def test_a_rollout_that_goes_wakes_the_one_that_stood_back() -> None:
    wakeups = known(stored(API), stored(OTHER))
    assert wakeups.of_rollout("DELETED", stored(API)) == (API, OTHER)
    assert len(wakeups) == 1
    assert wakeups.of_deployment(thing("web")) == (OTHER,)


def test_malformed_objects_wake_at_most_themselves() -> None:
    wakeups = known({"metadata": {"namespace": "shop", "name": "odd"}, "spec": {"targetRef": "x"}})
    odd = {"metadata": {"namespace": "shop", "name": "odd"}, "spec": None}
    assert wakeups.of_rollout("ADDED", odd) == (Key("shop", "odd"),)
    assert wakeups.of_deployment({}) == ()
