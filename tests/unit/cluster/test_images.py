"""The table of images, what goes into a build, and when a build is not needed."""

import io
from pathlib import Path

import pytest

from cluster import builders, images, registries
from cluster.builders import Builder
from cluster.errors import ClusterError
from cluster.images import Image
from cluster.layout import Layout
from cluster.progress import Progress
from cluster.registries import Mount

IMAGE = Image("redis", "redis/Dockerfile", ("redis",))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree" / "redis"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "x.pyc").touch()
    (folder / "Dockerfile").write_text("FROM scratch")
    (folder / "redis.conf").write_text("save")
    (tmp_path / "tree" / "secret").write_text("not for images")
    return tmp_path / "tree"


def test_the_context_is_exactly_what_the_table_says(tree: Path) -> None:
    names = {name for name, _ in images.context_files(tree, IMAGE)}
    assert names == {"redis/Dockerfile", "redis/redis.conf"}


def test_a_missing_input_is_named(tree: Path) -> None:
    broken = Image("redis", "redis/Dockerfile", ("redis", "uv.lock"))
    with pytest.raises(ClusterError, match=r"image redis needs uv\.lock"):
        list(images.context_files(tree, broken))


def test_an_unknown_image_is_named_with_those_there_are() -> None:
    with pytest.raises(ClusterError, match="no such image: mysql; there are operator, "):
        images.selected(["redis", "mysql"])
    assert images.selected([]) == images.IMAGES
    (redis,) = images.selected(["redis"])
    assert redis.reference == "docker.io/cacherollout/redis:dev"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that keeps the context it was given, and saves the word 'image'."""
    folder = tmp_path / "programs"
    folder.mkdir()
    kept = tmp_path / "kept"
    script = f"""#!/bin/sh
for last; do :; done
case $1 in
  build) rm -rf "{kept}"; cp -r "$last" "{kept}"; echo "$@" >>"{tmp_path}/builds" ;;
  save) echo image >"$3" ;;
esac
"""
    (folder / "docker").write_text(script)
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return kept


def _builder(tree: Path) -> Builder:
    return Builder(Layout(tree), Progress(io.StringIO(), is_live=False), has_engine=True)


def test_an_engine_gets_the_context_and_nothing_else(tree: Path, docker: Path) -> None:
    built = _builder(tree).build(IMAGE)
    files = {str(path.relative_to(docker)) for path in docker.rglob("*") if path.is_file()}
    assert files == {"redis/Dockerfile", "redis/redis.conf"}
    assert built.archive.read_text() == "image\n"


def test_what_did_not_change_is_not_built_again(tree: Path, docker: Path, tmp_path: Path) -> None:
    builder = _builder(tree)
    first = builder.build(IMAGE)
    assert builder.build(IMAGE) == first
    assert len((tmp_path / "builds").read_text().splitlines()) == 1
    (tree / "redis" / "redis.conf").write_text("changed")
    second = builder.build(IMAGE)
    assert second.key != first.key
    assert len((tmp_path / "builds").read_text().splitlines()) == 2
    assert not first.archive.exists(), "the archive of the earlier content is thrown away"
    assert second.archive.exists()


def test_what_a_killed_build_left_is_swept_away(tree: Path, docker: Path) -> None:
    left = tree / ".cluster" / "images" / ".scratch-abc" / "redis"
    left.mkdir(parents=True)
    _builder(tree).build(IMAGE)
    assert {path.name.split("-")[0] for path in (tree / ".cluster" / "images").iterdir()} == {
        "redis"
    }


def test_a_build_without_an_engine_has_its_base_and_mounts_on_the_command_line() -> None:
    mounts = (Mount(Path("/x/pip"), "/etc/pip.conf"),)
    arguments = builders.buildah_build_arguments(
        IMAGE, Path("/context"), base="localhost/base:1", mounts=mounts
    )
    assert "--build-arg=BASE_IMAGE=localhost/base:1" in arguments
    assert "--volume=/x/pip:/etc/pip.conf:ro" in arguments
    assert arguments[-3:] == ("--file", "/context/redis/Dockerfile", "/context")


def test_pip_settings_of_files_and_environment_become_one_file() -> None:
    listing = (
        "global.cert='/etc/ca.crt'\nglobal.index-url='https://a/'\n:env:.index-url='https://b/'\n"
    )
    settings = registries.pip_settings(listing)
    assert settings == {"cert": "/etc/ca.crt", "index-url": "https://b/"}
    assert registries.pip_file(settings) == "[global]\ncert = /etc/ca.crt\nindex-url = https://b/\n"
    assert 'url = "https://b/"' in registries.uv_file(settings)


def test_a_line_of_pip_that_makes_no_sense_is_not_guessed_at() -> None:
    with pytest.raises(ClusterError, match="makes no sense"):
        registries.pip_settings("WARNING: something")


def test_only_settings_about_reaching_a_mirror_are_taken_from_apt() -> None:
    dump = (
        'APT::Architecture "amd64";\n'
        'Acquire::http::Proxy "http://proxy:3128";\n'
        'Acquire::https::CaInfo "/etc/ca.crt";\n'
        'Acquire::IndexTargets::deb::Packages::Optional "0";\n'
        'DPkg::Post-Invoke:: "touch /var/lib/something";\n'
    )
    assert registries.apt_file(dump).splitlines() == [
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::https::CaInfo "/etc/ca.crt";',
    ]
