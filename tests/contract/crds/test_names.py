"""People reach our kinds by every name that kubectl documents."""

import pytest

from tests.contract.crds.conftest import Kubectl


@pytest.mark.parametrize(
    "name", ["cacherollouts", "cacherollout", "crl", "cachebackends", "cachebackend", "cbe"]
)
def test_a_resource_is_asked_for_by_name(kubectl: Kubectl, name: str) -> None:
    # A category spelled like a kind would make kubectl take the name for two kinds.
    answer = kubectl("get", "-n", "default", name, "not-there")
    assert '"not-there" not found' in answer.stderr
