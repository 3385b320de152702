"""Settings of one process, read once from the environment.

Nothing else in the package reads `os.environ`; every value has a unit in its name and bounds that are
checked here, so that a bad deployment stops at once with the name of the variable and the fix.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from blingauto.cache.versions import is_version
from blingauto.families import KEY_PATTERNS

_T = TypeVar("_T", int, float)
_VERSIONS_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/|#-]*[A-Za-z0-9]")


class SettingsError(ValueError):
    """A variable of the environment is missing or out of bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that may differ between two deployments of the same image."""

    database_url: str
    redis_url: str
    release: str = "v2"
    pod: str = "local"
    port: int = 8000
    # Part of every cache key. A new value is a new, empty namespace.
    cache_version: str = "v1"
    # Key in Redis that names the cache versions in use; a write deletes under all of them.
    cache_versions_key: str | None = None
    cache_ttl_seconds: float = 300.0
    # TTLs are spread over ± this share, so that what was filled together does not expire together.
    cache_ttl_jitter_percent: float = 50.0
    cache_l1_ttl_seconds: float = 5.0
    cache_l1_entries: int = 1_000
    # A reader that read before a commit may fill after its delete; a second delete ends that. It has
    # to come later than such a reader can: after two statements at most, see below.
    cache_second_delete_seconds: float = 2.5
    redis_timeout_seconds: float = 0.1
    redis_max_connections: int = 16
    # 0 switches the warm-up off.
    cache_warm_users: int = 0
    cache_warm_seconds: float = 10.0
    # All pods' connections at work at once have to finish within the statement's timeout.
    database_pool_size: int = 2
    # How long a request may wait for a connection before it is answered with 503.
    database_pool_timeout_seconds: float = 0.5
    database_statement_timeout_seconds: float = 1.0
    # How long a process that was told to stop still answers, so that endpoints can follow.
    drain_seconds: float = 2.0
    seed_users: int = 20_000
    seed_services: int = 500
    seed_bookings: int = 100_000


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings; raises `SettingsError` that names the variable and the fix."""
    number = _Numbers(environ)
    settings = Settings(
        database_url=_required(environ, "DATABASE_URL"),
        redis_url=_required(environ, "REDIS_URL"),
        release=environ.get("BLINGAUTO_RELEASE", "v2"),
        pod=environ.get("POD_NAME", "local"),
        port=number.whole("PORT", 8000, 1, 65_535),
        cache_version=_version("CACHE_VERSION", environ.get("CACHE_VERSION", "v1")),
        cache_versions_key=_versions_key("CACHE_VERSIONS_KEY", environ),
        cache_ttl_seconds=number.real("CACHE_TTL_SECONDS", 300.0, 1.0, 86_400.0),
        cache_ttl_jitter_percent=number.real("CACHE_TTL_JITTER_PERCENT", 50.0, 0.0, 90.0),
        cache_l1_ttl_seconds=number.real("CACHE_L1_TTL_SECONDS", 5.0, 0.0, 60.0),
        cache_l1_entries=number.whole("CACHE_L1_ENTRIES", 1_000, 1, 100_000),
        cache_second_delete_seconds=number.real("CACHE_SECOND_DELETE_SECONDS", 2.5, 0.0, 30.0),
        redis_timeout_seconds=number.real("REDIS_TIMEOUT_SECONDS", 0.1, 0.001, 0.1),
        redis_max_connections=number.whole("REDIS_MAX_CONNECTIONS", 16, 1, 1_000),
        cache_warm_users=number.whole("CACHE_WARM_USERS", 0, 0, 10_000),
        cache_warm_seconds=number.real("CACHE_WARM_SECONDS", 10.0, 0.1, 300.0),
        database_pool_size=number.whole("DATABASE_POOL_SIZE", 2, 1, 100),
        database_pool_timeout_seconds=number.real("DATABASE_POOL_TIMEOUT_SECONDS", 0.5, 0.01, 30.0),
        database_statement_timeout_seconds=number.real(
            "DATABASE_STATEMENT_TIMEOUT_SECONDS", 1.0, 0.1, 60.0
        ),
        drain_seconds=number.real("DRAIN_SECONDS", 2.0, 0.0, 60.0),
        seed_users=number.whole("SEED_USERS", 20_000, 1, 1_000_000),
        seed_services=number.whole("SEED_SERVICES", 500, 1, 10_000),
        seed_bookings=number.whole("SEED_BOOKINGS", 100_000, 0, 10_000_000),
    )
    slowest_read_seconds = 2 * settings.database_statement_timeout_seconds
    if 0 < settings.cache_second_delete_seconds <= slowest_read_seconds:
        raise SettingsError(
            f"CACHE_SECOND_DELETE_SECONDS must be 0 or above {slowest_read_seconds:g}, twice "
            "DATABASE_STATEMENT_TIMEOUT_SECONDS, or a slow reader fills after it"
        )
    return settings


@dataclass(frozen=True, slots=True)
class _Numbers:
    environ: Mapping[str, str]

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        return self._read(name, default, least, most, int)

    def real(self, name: str, default: float, least: float, most: float) -> float:
        return self._read(name, default, least, most, float)

    def _read(
        self, name: str, default: _T, least: _T, most: _T, convert: Callable[[str], _T]
    ) -> _T:
        raw = self.environ.get(name, "")
        if not raw:
            return default
        try:
            value = convert(raw)
        except ValueError as error:
            raise SettingsError(
                f"{name}={raw!r} is not a number; unset it or correct it"
            ) from error
        if not least <= value <= most:  # also refuses nan
            raise SettingsError(f"{name}={raw!r} must lie between {least} and {most}")
        return value


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set; set it in the pod template")
    return value


def _version(name: str, value: str) -> str:
    """A version stands between two delimiters of a key, so it may contain none itself."""
    if not is_version(value):
        raise SettingsError(
            f"{name}={value!r} must be 1 to 63 letters, digits, '-', '_' or '.', such as v3"
        )
    return value


def _versions_key(name: str, environ: Mapping[str, str]) -> str | None:
    """A key of Redis that no cached value may have; None where it is unset."""
    value = environ.get(name, "")
    if not value:
        return None
    if not 3 <= len(value) <= 128 or not _VERSIONS_KEY.fullmatch(value):
        raise SettingsError(
            f"{name}={value!r} must be 3 to 128 letters, digits and any of . _ : / | # - inside, "
            "such as blingauto:versions"
        )
    for pattern in KEY_PATTERNS:
        before, _, after = pattern.partition("{version}")
        if value.startswith(before) and after.partition("{id}")[0] in value[len(before) :]:
            raise SettingsError(
                f"{name}={value!r} lies under {pattern} and could be taken for a cached value; "
                "choose another, such as blingauto:versions"
            )
    return value
