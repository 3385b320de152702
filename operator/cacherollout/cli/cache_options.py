"""The options that say which cache, which keys and which pace; parsed into the engine's own types.

A password comes from a file, the environment or a prompt: on a command line it would be read by
whoever lists processes, and kept by the shell's history.
"""

import functools
import os
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import click

from cacherollout.cache import (
    Cluster,
    Codec,
    Endpoint,
    Family,
    KeyTemplate,
    Limits,
    Sentinel,
    Server,
    Standalone,
    TemplateError,
)
from cacherollout.cli.outputs import output_option

PASSWORD_VARIABLE: Final = "CACHEROLLOUT_REDIS_PASSWORD"  # noqa: S105  # a name
SENTINEL_PASSWORD_VARIABLE: Final = "CACHEROLLOUT_SENTINEL_PASSWORD"  # noqa: S105  # a name
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What a command works on.

    Attributes:
        server: The cache.
        address: How messages call it; without credentials.
        username: The ACL user.
        families: The declared key families.
        limits: The pace.
        is_json: Whether the result is for machines.

    """

    server: Server
    address: str
    username: str
    families: tuple[Family, ...]
    limits: Limits
    is_json: bool


def on_cache(command: Command) -> Command:
    """Add the options shared by all cache commands; hand them over as one `Target`."""

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        shared = {name: given.pop(name) for name in _SHARED}
        command(target(**shared), **given)

    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return wrapper


_SHARED: Final = (
    "redis",
    "sentinel",
    "cluster",
    "ca_file",
    "password_file",
    "ask_password",
    "family",
    "keys_per_second",
    "duty_cycle",
    "unthrottled",
    "output",
)
_OPTIONS: Final = (
    click.option(
        "--redis",
        required=True,
        metavar="URL",
        help="redis://[user@]host[:port][/db], or rediss:// for TLS. With --sentinel the host is the "
        "name that sentinels know the primary by.",
    ),
    click.option(
        "--sentinel",
        multiple=True,
        metavar="HOST[:PORT]",
        help="A sentinel to ask where the primary is; repeatable.",
    ),
    click.option(
        "--cluster",
        is_flag=True,
        help="--redis names one node of a Redis Cluster; the others are found by asking it.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(exists=True, dir_okay=False),
        help="Authority to verify the server's certificate with; else the system's.",
    ),
    click.option(
        "--password-file",
        type=click.Path(exists=True, dir_okay=False),
        help=f"File with the password alone; else ${PASSWORD_VARIABLE} is read.",
    ),
    click.option("--ask-password", is_flag=True, help="Ask for the password."),
    click.option(
        "--family",
        multiple=True,
        required=True,
        metavar="NAME=KEY",
        help="Keys of one kind, such as 'user=user:{version}:{id}'; repeatable.",
    ),
    click.option(
        "--keys-per-second",
        type=click.IntRange(min=1),
        metavar="N",
        help=f"Ceiling on the keys handled a second.  [default: {Limits().keys_per_second}]",
    ),
    click.option(
        "--duty-cycle",
        type=click.FloatRange(min=0, min_open=True, max=100),
        metavar="PERCENT",
        help="Share of the server's time that may be taken.  "
        f"[default: {Limits().duty_cycle_percent:g}]",
    ),
    click.option(
        "--unthrottled", is_flag=True, help="As fast as the server goes; its other clients feel it."
    ),
    output_option,
)


def target(
    *,
    redis: str,
    sentinel: Sequence[str],
    cluster: bool,
    ca_file: str | None,
    password_file: str | None,
    ask_password: bool,
    family: Sequence[str],
    keys_per_second: int | None,
    duty_cycle: float | None,
    unthrottled: bool,
    output: str,
) -> Target:
    """Make a `Target` of the options as given; raises UsageError, which says how to correct them."""
    url = _url(redis)
    username = unquote(url.username or "") or "default"
    families = tuple(family_of(text) for text in family)
    if len({one.name for one in families}) != len(families):
        raise click.UsageError("--family: names must differ; give every family a name of its own.")
    limits = limits_of(keys_per_second, duty_cycle, is_unthrottled=unthrottled)
    endpoint = Endpoint(
        host=url.hostname or "",
        port=url.port or _PORT,
        database=int(url.path.strip("/") or 0),
        username=username,
        password=_password(password_file, url.username, is_asked=ask_password),
        tls=_tls(url.scheme, ca_file),
    )
    server: Server = Standalone(endpoint)
    address = f"{endpoint}/{endpoint.database}"
    if cluster:
        server = _cluster(endpoint, has_sentinels=bool(sentinel))
        address = f"{endpoint} (a cluster)"
    elif sentinel:
        server = Sentinel(
            [_sentinel(text, endpoint.tls) for text in sentinel],
            primary=_primary_name(url),
            credentials=endpoint,
        )
        address = f"{_primary_name(url)} (of {', '.join(sentinel)})/{endpoint.database}"
    return Target(server, address, username, families, limits, output == "json")


def _url(text: str) -> SplitResult:
    problem = "use redis://[user@]host[:port][/db], or rediss:// for TLS."
    try:
        url = urlsplit(text)
        # A name that cannot be looked up fails here, and not in the event loop.
        is_named = (url.hostname or "").encode("idna")
        is_usable = url.scheme in ("redis", "rediss") and is_named and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise click.UsageError(f"--redis: that is not the URL of a Redis server; {problem}")
    if url.password is not None:
        raise click.UsageError(
            "--redis: the URL holds a password, which whoever lists processes could read. Take it "
            f"out of the URL (and change it, if others use this machine), and give it in "
            f"${PASSWORD_VARIABLE}, with --password-file or with --ask-password."
        )
    if url.query or url.fragment or not (url.path.strip("/") or "0").isdecimal():
        raise click.UsageError(f"--redis: after the port comes a database's number; {problem}")
    return url


def _cluster(endpoint: Endpoint, *, has_sentinels: bool) -> Cluster:
    if has_sentinels:
        raise click.UsageError(
            "--cluster and --sentinel exclude each other: the nodes of a cluster watch one another. "
            "Leave one of them out."
        )
    if endpoint.database:
        raise click.UsageError(
            f"--redis: a cluster has database 0 alone; leave /{endpoint.database} out."
        )
    return Cluster([endpoint])


def _primary_name(url: SplitResult) -> str:
    """The host as written: names that sentinels know are case sensitive, host names are not."""
    return url.netloc.rpartition("@")[2].partition(":")[0]


def _sentinel(text: str, tls: ssl.SSLContext | None) -> Endpoint:
    host, _, port = text.partition(":")
    if not host or not (port or "1").isdecimal():
        raise click.UsageError(f"--sentinel {text!r}: use HOST[:PORT].")
    password = os.environ.get(SENTINEL_PASSWORD_VARIABLE)
    return Endpoint(host, int(port or _SENTINEL_PORT), password=password, tls=tls)


def _password(path: str | None, username: str | None, *, is_asked: bool) -> str | None:
    if path is not None:
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            # Not chained: the exception carries the bytes.
            raise click.UsageError(
                f"--password-file {path}: is not UTF-8 text; store the password alone in it."
            ) from None
    if PASSWORD_VARIABLE in os.environ and not is_asked:
        return os.environ[PASSWORD_VARIABLE]
    if is_asked or (username and sys.stdin.isatty()):
        whose = f" of {unquote(username)}" if username else ""
        return str(click.prompt(f"Password{whose}", hide_input=True, err=True))
    if username:
        raise click.UsageError(
            f"--redis names the user {unquote(username)!r}, but there is no password and no terminal "
            f"to ask at: set ${PASSWORD_VARIABLE}, or give --password-file."
        )
    return None


def _tls(scheme: str, ca_file: str | None) -> ssl.SSLContext | None:
    if scheme == "redis":
        if ca_file:
            raise click.UsageError("--ca-file is of use with TLS only: write rediss:// in --redis.")
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise click.UsageError(
            f"--ca-file {ca_file}: holds no certificate; it must be in PEM form."
        ) from error


def family_of(text: str) -> Family:
    """Parse ``user=user:{version}:{id}``."""
    name, separator, key = text.partition("=")
    if not separator or not name or not key:
        raise click.UsageError(
            f"--family {text!r}: use NAME=KEY, as in 'user=user:{{version}}:{{id}}'."
        )
    try:
        # The person at the terminal is the admin: whatever prefix they write is allowed.
        return Family(name, KeyTemplate.parse(key, (key.partition("{version}")[0],)))
    except TemplateError as error:
        raise click.UsageError(f"--family {name}: {error}.") from error


def limits_of(
    keys_per_second: int | None, duty_cycle: float | None, *, is_unthrottled: bool
) -> Limits:
    """The pace that the flags ask for."""
    usual = Limits()
    if is_unthrottled:
        if keys_per_second is not None or duty_cycle is not None:
            raise click.UsageError(
                "--unthrottled means no pace at all: leave it out, or leave out --keys-per-second "
                "and --duty-cycle."
            )
        return Limits.unthrottled()
    return Limits(
        keys_per_second=keys_per_second or usual.keys_per_second,
        duty_cycle_percent=duty_cycle or usual.duty_cycle_percent,
    )


def seconds_of(text: str) -> float:
    """Parse ``90s``, ``15m``, ``2h`` or ``1d``."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or not int(number):
        raise click.UsageError(f"{text!r} is no time: use 90s, 15m, 2h or 1d.")
    return float(int(number) * _UNITS[unit])


def required_of(
    families: Sequence[Family], texts: Sequence[str], codec: Codec
) -> tuple[Family, ...]:
    """The families with the fields that ``a,b`` (all families) and ``user=a,b`` (one) require."""
    fields: dict[str, tuple[str, ...]] = {family.name: () for family in families}
    for text in texts:
        name, separator, names = text.rpartition("=")
        if separator and name not in fields:
            raise click.UsageError(
                f"--required {text!r}: there is no family {name!r}; add --family {name}=…, or write "
                f"one of {', '.join(fields)}."
            )
        wanted = tuple(one.strip() for one in names.split(",") if one.strip())
        for family in [name] if separator else list(fields):
            fields[family] += wanted
    return tuple(
        Family(one.name, one.template, codec=codec, required=fields[one.name]) for one in families
    )
