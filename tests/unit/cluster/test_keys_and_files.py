"""Content keys, image archives, records: what is written down can be read back and trusted."""

import hashlib
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import digests, records
from cluster.archives import write_single_program
from cluster.errors import ClusterError
from cluster.layout import checked_name
from cluster.records import Process, Record


def test_the_same_content_gives_the_same_key_wherever_it_lies(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("x")
    assert digests.files_key([("file", tmp_path / "a/file")]) == digests.files_key(
        [("file", tmp_path / "b/file")]
    )


@pytest.mark.parametrize("change", ["content", "name", "mode", "one more"])
def test_any_change_of_the_inputs_changes_the_key(tmp_path: Path, change: str) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    file.chmod(0o644)
    inputs = [("file", file)]
    before = digests.files_key(inputs)
    match change:
        case "content":
            file.write_text("y")
        case "name":
            inputs = [("other", file)]
        case "mode":
            file.chmod(0o755)
        case _:
            inputs = [*inputs, ("more", file)]
    assert digests.files_key(inputs) != before


def test_a_key_of_texts_knows_where_one_ends() -> None:
    assert digests.text_key("ab", "c") != digests.text_key("a", "bc")


def test_an_archive_holds_the_program_under_the_digests_it_names(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    archive_path = tmp_path / "image.tar"
    write_single_program("docker.io/cacherollout/pause:dev", program, archive_path)
    with tarfile.open(archive_path) as archive:

        def content(name: str) -> bytes:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

        (manifest,) = json.loads(content("manifest.json"))
        config = json.loads(content(manifest["Config"]))
        (layer_name,) = manifest["Layers"]
        layer = content(layer_name)
        with tarfile.open(fileobj=archive.extractfile(layer_name)) as files:
            (entry,) = files.getmembers()
    assert manifest["RepoTags"] == ["docker.io/cacherollout/pause:dev"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/pause"]
    assert (entry.name, entry.mode, entry.size) == ("pause", 0o755, 4)


def test_a_record_survives_being_written_and_read(tmp_path: Path) -> None:
    record = Record("crnode", "native", is_complete=True, boot_id="b", subnet_index=3)
    record = record.with_process("etcd", Process(12, 34)).with_image("redis:dev", "k")
    records.save(tmp_path / "new", record)
    assert records.load(tmp_path / "new") == record


def test_no_record_is_not_an_error_but_a_broken_one_is(tmp_path: Path) -> None:
    assert records.load(tmp_path) is None
    (tmp_path / "node.json").write_text('{"name": "x"}')
    with pytest.raises(ClusterError, match=r"node\.json cannot be read"):
        records.load(tmp_path)


def test_a_process_is_alive_only_if_it_is_the_very_same_one() -> None:
    own = records.process(os.getpid())
    assert own.is_alive
    assert not replace(own, start_ticks=own.start_ticks - 1).is_alive


def test_an_ended_process_is_not_alive_even_before_its_parent_looked() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        process = records.process(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process.is_alive
    assert not process.is_alive


@pytest.mark.parametrize("name", ["crnode", "a1", "my-node-2"])
def test_names_that_links_and_cgroups_can_carry_are_taken(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "x", "1a", "A", "a_b", "a-", "a/b", "..", "a" * 14])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="--name"):
        checked_name(name)
