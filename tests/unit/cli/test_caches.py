"""What the cache commands make of their options, before any server is asked."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cacherollout.cache import Cluster, Codec, Limits, Sentinel, Standalone
from cacherollout.cli import main
from cacherollout.cli.cache_options import Target, family_of, required_of, seconds_of, target
from cacherollout.cli.cache_reports import readable, size

USER = "user=user:{version}:{id}"


def made(redis: str, **given: object) -> Target:
    usual: dict[str, object] = {
        "sentinel": (),
        "cluster": False,
        "ca_file": None,
        "password_file": None,
        "ask_password": False,
        "family": (USER,),
        "keys_per_second": None,
        "duty_cycle": None,
        "unthrottled": False,
        "output": "table",
    }
    return target(redis=redis, **{**usual, **given})  # type: ignore[arg-type]


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["cache", *arguments])
    assert done.exit_code == 2, done.output
    return " ".join(done.output.split())


def test_an_address_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEROLLOUT_REDIS_PASSWORD", "secret")
    found = made("rediss://op%40x@cache.example:6390/3")
    assert isinstance(found.server, Standalone)
    endpoint = found.server.endpoint
    assert (endpoint.host, endpoint.port, endpoint.database) == ("cache.example", 6390, 3)
    assert (endpoint.username, endpoint.password) == ("op@x", "secret")
    assert endpoint.tls is not None
    assert found.address == "cache.example:6390/3"
    assert "secret" not in repr(found)


def test_a_plain_address_has_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CACHEROLLOUT_REDIS_PASSWORD", raising=False)
    found = made("redis://[::1]")
    assert isinstance(found.server, Standalone)
    endpoint = found.server.endpoint
    assert (endpoint.host, endpoint.port, endpoint.database) == ("::1", 6379, 0)
    assert (endpoint.username, endpoint.password, endpoint.tls) == ("default", None, None)
    assert found.limits == Limits()


def test_a_password_file_comes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHEROLLOUT_REDIS_PASSWORD", "other")
    path = tmp_path / "password"
    path.write_text("from file\n")
    found = made("redis://op@cache", password_file=str(path))
    assert isinstance(found.server, Standalone)
    assert found.server.endpoint.password == "from file"


def test_a_password_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(click.UsageError, match="is not UTF-8 text"):
        made("redis://op@cache", password_file=str(path))


def test_with_sentinels_the_host_is_the_primarys_name() -> None:
    found = made("redis://My-Primary/1", sentinel=("s1", "s2:26380"))
    assert isinstance(found.server, Sentinel)
    assert found.address == "My-Primary (of s1, s2:26380)/1"


def test_a_cluster_is_found_through_one_node() -> None:
    found = made("redis://cache/0", cluster=True)
    assert isinstance(found.server, Cluster)
    assert found.address == "cache:6379 (a cluster)"
    with pytest.raises(click.UsageError, match="leave /1 out"):
        made("redis://cache/1", cluster=True)
    with pytest.raises(click.UsageError, match="exclude each other"):
        made("redis://cache", cluster=True, sentinel=("s1",))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://op:secret@cache", "the URL holds a password"),
        ("redis://:secret@cache", "the URL holds a password"),
        ("http://cache", "not the URL of a Redis server"),
        ("cache:6379", "not the URL of a Redis server"),
        ("redis://cache:99999", "not the URL of a Redis server"),
        ("redis://" + "c" * 64, "not the URL of a Redis server"),
        ("redis://cache..x", "not the URL of a Redis server"),
        ("redis:///0", "not the URL of a Redis server"),
        ("redis://cache/one", "a database's number"),
        ("redis://cache?db=1", "a database's number"),
    ],
)
def test_an_unusable_address_is_refused_and_no_password_repeated(url: str, message: str) -> None:
    output = refused("survey", "--redis", url, "--family", USER)
    assert message in output
    assert "secret" not in output


def test_a_user_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CACHEROLLOUT_REDIS_PASSWORD", raising=False)
    assert "there is no password" in refused("survey", "--redis", "redis://op@c", "--family", USER)


@pytest.mark.parametrize("version", ["v*", "v?", "[v1]", "v\\1", "", "-v1", "v 1"])
def test_versions_are_never_patterns(version: str) -> None:
    output = refused("retire", "--redis", "redis://c", "--family", USER, f"--version={version}")
    assert "never as a pattern" in output


def test_copying_a_version_onto_itself_is_refused() -> None:
    arguments = ("--redis", "redis://c", "--family", USER, "--from", "v1", "--to", "v1")
    assert "--from and --to are both 'v1'" in refused("copy", *arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user", "use NAME=KEY"),
        ("=user:{version}:{id}", "use NAME=KEY"),
        ("user=user:{id}", "needs {version} once and {id} once"),
        ("user=user:{version}{id}", "put a delimiter"),
        ("user={version}:{id}", "at least 3 bytes"),
    ],
)
def test_an_unsafe_family_is_refused(text: str, message: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        family_of(text)
    assert message in caught.value.message


def test_paces() -> None:
    assert made("redis://c", unthrottled=True).limits == Limits.unthrottled()
    slow = made("redis://c", keys_per_second=100, duty_cycle=5.0).limits
    assert (slow.keys_per_second, slow.duty_cycle_percent) == (100, 5.0)
    with pytest.raises(click.UsageError, match="--unthrottled means no pace"):
        made("redis://c", unthrottled=True, keys_per_second=100)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200)])
def test_times(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "15", "0m", "-1m", "1.5h", "15 m", "15w"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.UsageError, match="is no time"):
        seconds_of(text)


def test_required_fields_of_all_families_or_of_one() -> None:
    families = (family_of(USER), family_of("order=order:{version}:{id}"))
    user, order = required_of(families, ("id", "user=email, role"), Codec.JSON)
    assert user.required == ("id", "email", "role")
    assert order.required == ("id",)
    with pytest.raises(click.UsageError, match="there is no family 'users'"):
        required_of(families, ("users=id",), Codec.JSON)


def test_ids_stay_on_their_line_and_can_be_read_back() -> None:
    assert readable(b"a\\x\n\xff\x00 \xc3\xa9") == r"a\\x\x0a\xff\x00 é"


def test_sizes() -> None:
    assert [size(count) for count in (0, 1023, 1536, 5 << 20, 3 << 30, 2 << 40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 GiB",
        "2.0 TiB",
    ]
