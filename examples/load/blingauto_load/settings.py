"""Settings of the load generator, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, fields


class SettingsError(ValueError):
    """A variable of the environment is missing or out of bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """Every field is read from `LOAD_<FIELD>`; units are in the names."""

    target: str = "http://blingauto-api:8000"
    requests_per_second: float = 200.0
    # The arrivals' rate grows linearly to its full value over this time.
    ramp_seconds: float = 20.0
    # Before the ramp the most popular entities are read one after another, at most this long.
    prime_seconds: float = 60.0
    duration_seconds: float = 3_600.0
    users: int = 2_000
    services: int = 500
    zipf_exponent: float = 1.1
    write_percent: float = 2.0
    clients: int = 16
    # A client closes its connections and begins anew after about this time, as browsers do.
    connection_seconds: float = 3.0
    timeout_seconds: float = 2.0
    # A read that shows an older revision longer than this after the write was answered is stale.
    stale_after_seconds: float = 3.0
    max_in_flight: int = 2_000
    report_port: int = 8080
    seed: int = 1


_LEAST_ZERO = frozenset({"ramp_seconds", "prime_seconds", "write_percent", "seed", "report_port"})


def read_settings(environ: Mapping[str, str]) -> LoadSettings:
    """Read the settings; raises `SettingsError` that names the variable and the fix."""
    given: dict[str, str | int | float] = {}
    for field in fields(LoadSettings):
        name = f"LOAD_{field.name.upper()}"
        raw = environ.get(name, "")
        if not raw:
            continue
        if field.type is str:
            given[field.name] = raw
            continue
        try:
            value = int(raw) if field.type is int else float(raw)
        except ValueError as error:
            raise SettingsError(
                f"{name}={raw!r} is not a number; unset it or correct it"
            ) from error
        if not (value >= 0 if field.name in _LEAST_ZERO else value > 0):
            raise SettingsError(f"{name}={raw!r} must be positive")
        given[field.name] = value
    return LoadSettings(**given)  # type: ignore[arg-type]
