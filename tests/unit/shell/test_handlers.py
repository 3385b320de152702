from itertools import islice

import pytest

from cacherollout.adapters.kube.login import Login
from cacherollout.api import names
from cacherollout.shell import handlers
from cacherollout.shell.settings import Settings
from cacherollout.shell.wakeups import Wakeups


async def login() -> Login:
    return Login("https://api", None, None, None, "s3cret", is_verified=True)


def test_kopf_has_nothing_registered_that_makes_it_write() -> None:
    registry = handlers.registry(Wakeups(), list, login, lambda: 0.0)
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._indexing.get_all_handlers()
    assert not registry._webhooks.get_all_handlers()
    watched = {handler.id for handler in registry._watching.get_all_handlers()}
    assert watched == {"rollout", "backend", "deployment", "pod"}


def test_kopf_is_set_to_neither_write_nor_scan_nor_elect() -> None:
    settings = handlers.settings()
    assert "kopf" not in settings.persistence.finalizer
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert not settings.posting.enabled


def test_pods_are_selected_by_the_api_server() -> None:
    selectors = handlers.settings().watching.label_selectors
    assert list(selectors.values()) == [names.LABEL_ROLLOUT]


def test_retries_never_run_out_and_start_over_with_every_request() -> None:
    retries = handlers.EndlessRetries()
    first, second = list(islice(retries, 100)), list(islice(retries, 3))
    assert second == first[:3]
    assert max(first) == handlers.RETRY_CAP_SECONDS


async def test_a_login_expires_and_does_not_show_its_token() -> None:
    assert "s3cret" not in repr(await login())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"namespaces": ("Shop",)}, "is not a namespace's name"),
        ({"workers": 0}, "choose 1 to 64"),
        ({"port": 70000}, "choose 0 to 65535"),
        ({"context": "kind"}, "context needs kubeconfig"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_fix(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(**wrong)  # type: ignore[arg-type]


def test_replicas_without_a_name_get_different_ones() -> None:
    assert Settings().replica() != Settings().replica()
    assert Settings(identity="pod-a").replica() == "pod-a"
