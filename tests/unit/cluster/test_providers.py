"""Which provider is chosen, and that given and kind touch only what they were told to.

The programs they call are small scripts on PATH that write down how they were called.
"""

import io
from pathlib import Path

import pytest

from cluster import cli, providers, records
from cluster.errors import ClusterError
from cluster.given import GivenProvider
from cluster.kind import KindProvider
from cluster.layout import SOURCE, Layout
from cluster.progress import Progress
from cluster.workspaces import Workspace


class Programs:
    """Fake programs on PATH; `calls` are the command lines in the order they came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "calls.log"

    def add(self, name: str, body: str) -> None:
        file = self.folder / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self._log}"\n{body}\n')
        file.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []

    def of(self, name: str) -> list[str]:
        return [call for call in self.calls if call.startswith(f"{name} ")]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    fakes = Programs(folder)
    fakes.add("docker", "echo 27.0")
    fakes.add("kubectl", _kubectl("uid-1"))
    return fakes


def _kubectl(cluster_id: str) -> str:
    return f"""
case "$*" in
  *kube-system*) echo {cluster_id} ;;
  *"config view"*) echo "flat: true" ;;
  *"get nodes"*) echo True ;;
  *) echo ok ;;
esac"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace("crnode", Layout(tmp_path / "tree"), Progress(io.StringIO(), is_live=False))


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "theirs.yaml"
    file.write_text("theirs")
    return file


@pytest.mark.parametrize(
    ("requested", "has_kubeconfig", "made_by", "has_engine", "expected"),
    [
        ("auto", True, None, True, "given"),
        ("auto", False, None, True, "kind"),
        ("auto", False, None, False, "native"),
        ("native", False, None, True, "native"),
        ("auto", False, "native", True, "native"),
        ("given", True, "given", False, "given"),
    ],
)
def test_the_order_is_given_then_kind_then_native_and_what_is_there_stays(
    requested: str,
    made_by: str | None,
    expected: str,
    *,
    has_kubeconfig: bool,
    has_engine: bool,
) -> None:
    found = providers.chosen(
        requested, has_kubeconfig=has_kubeconfig, made_by=made_by, has_engine=has_engine
    )
    assert found == expected


@pytest.mark.parametrize(
    ("requested", "has_kubeconfig", "made_by", "message"),
    [
        ("native", True, None, "leave one of the two out"),
        ("kind", False, "native", "provided by native, not kind"),
        ("auto", True, "native", "provided by native, not given"),
    ],
)
def test_contradictions_are_refused(
    requested: str, made_by: str | None, message: str, *, has_kubeconfig: bool
) -> None:
    with pytest.raises(ClusterError, match=message):
        providers.chosen(requested, has_kubeconfig=has_kubeconfig, made_by=made_by, has_engine=True)


def test_kind_is_called_with_a_kubeconfig_of_our_own(
    programs: Programs, workspace: Workspace, tmp_path: Path
) -> None:
    programs.add("kind", "")
    provider = KindProvider(workspace)
    provider.up()
    provider.load("redis:dev", tmp_path / "redis.tar")
    ours = workspace.kubeconfig
    config = SOURCE / "kind.yaml"
    assert config.is_file()
    assert programs.of("kind") == [
        "kind get clusters",
        f"kind delete cluster --name crnode --kubeconfig {ours}",
        f"kind create cluster --name crnode --config {config} --kubeconfig {ours} --wait 120s",
        f"kind load image-archive {tmp_path}/redis.tar --name crnode",
    ]
    assert provider.problems() == ()
    provider.up()
    assert len(programs.of("kind")) == 4, "a second up makes nothing"
    provider.down()
    assert not workspace.state.exists()


def test_a_kind_cluster_of_somebody_else_is_left_alone(
    programs: Programs, workspace: Workspace
) -> None:
    programs.add("kind", "echo crnode")
    with pytest.raises(ClusterError, match="did not make"):
        KindProvider(workspace).up()
    KindProvider(workspace).down()
    assert programs.of("kind") == ["kind get clusters"]


def test_a_kind_cluster_that_stays_after_down_is_an_error(
    programs: Programs, workspace: Workspace
) -> None:
    records.save(workspace.state, records.Record("crnode", "kind", is_complete=True))
    programs.add("kind", "echo crnode")
    with pytest.raises(ClusterError, match="left it there"):
        KindProvider(workspace).down()
    assert workspace.state.exists()


def test_kind_without_an_engine_is_refused(programs: Programs, workspace: Workspace) -> None:
    programs.add("docker", "exit 1")
    with pytest.raises(ClusterError, match="no Docker engine"):
        KindProvider(workspace).up()


def test_a_given_cluster_is_only_read(
    programs: Programs, workspace: Workspace, kubeconfig: Path
) -> None:
    provider = GivenProvider(workspace, kubeconfig, "theirs")
    provider.up()
    assert provider.problems() == ()
    provider.down()
    verbs = {call.split(" ", 2)[2].removeprefix("--context=theirs ") for call in programs.calls}
    changing = ("apply", "create", "delete", "patch", "replace", "scale", "label")
    assert not [verb for verb in verbs if verb.startswith(changing)]
    assert all(
        f"--kubeconfig={kubeconfig} --context=theirs" in call
        or f"--kubeconfig={workspace.kubeconfig}" in call
        for call in programs.of("kubectl")
    )
    assert kubeconfig.read_text() == "theirs"
    assert not workspace.state.exists()


def test_a_given_cluster_that_became_another_one_is_refused(
    programs: Programs, workspace: Workspace, kubeconfig: Path
) -> None:
    provider = GivenProvider(workspace, kubeconfig)
    provider.up()
    programs.add("kubectl", _kubectl("uid-2"))
    assert provider.problems() == ("the server is another cluster than the one named at `up`",)
    with pytest.raises(ClusterError, match="stands for another cluster already"):
        provider.up()


def test_a_given_cluster_need_not_be_named_twice(
    programs: Programs, workspace: Workspace, kubeconfig: Path
) -> None:
    GivenProvider(workspace, kubeconfig).up()
    GivenProvider(workspace).up()
    programs.add("kubectl", "exit 1")
    with pytest.raises(ClusterError, match="does not answer"):
        GivenProvider(workspace).up()


def test_images_are_never_loaded_into_a_given_cluster(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="push it to a registry"):
        GivenProvider(workspace).load("redis:dev", tmp_path / "redis.tar")


def test_a_given_cluster_has_to_be_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="--kubeconfig PATH"):
        GivenProvider(workspace).up()
    with pytest.raises(ClusterError, match="there is no such file"):
        GivenProvider(workspace, tmp_path / "none").up()


def test_a_command_on_a_cluster_that_is_not_there_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "work_tree", lambda: Layout(tmp_path))
    assert cli.main(["status", "--name", "none-here"]) == 1
    assert capsys.readouterr().out == "none-here: not there\n"
    assert cli.main(["kubeconfig", "--name", "none-here"]) == 1
    assert "run `python3 -m cluster up --name none-here`" in capsys.readouterr().err
