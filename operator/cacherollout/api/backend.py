"""CacheBackend: where a cache is, who may touch what in it, and how fast. An admin's object.

Host, credentials and key prefixes stand together in one object on purpose: whoever may create a
CacheRollout can name a backend, but cannot send its password elsewhere or widen its prefixes.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from cacherollout.api.models import Model, Rule, as_set, matches

NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
PREFIX_PATTERN: Final = r"^[^*?\[\]{}\\\s]{2,}[:/|.#_-]$"
DATA_KEY_PATTERN: Final = r"^[-._a-zA-Z0-9]+$"
ADDRESS_PATTERN: Final = (
    r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:"
    r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
)

ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=NAME_PATTERN),
    Field(
        json_schema_extra=matches(
            NAME_PATTERN,
            "write the name of an object of this namespace: lower-case letters, digits, '-' and "
            "'.', such as main",
        )
    ),
]
KeyPrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=PREFIX_PATTERN),
    Field(
        json_schema_extra=matches(
            PREFIX_PATTERN,
            "keyPrefixes need at least two characters and a delimiter, such as user:, and hold no "
            "spaces, braces or glob characters",
        )
    ),
]
SecretKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=DATA_KEY_PATTERN),
    Field(
        json_schema_extra=matches(
            DATA_KEY_PATTERN, "write the key of a Secret: letters, digits, '-', '_' and '.'"
        )
    ),
]


class RedisMode(StrEnum):
    """How the servers behind the address are organized."""

    STANDALONE = "Standalone"
    """One server, or one name that leads to whichever is the primary."""
    CLUSTER = "Cluster"
    """A Redis Cluster, version 7.0 or newer."""


class SecretRef(Model):
    """Credentials in a Secret of the same namespace."""

    name: ObjectName
    """Name of the Secret."""
    username_key: SecretKey = "username"
    """Key of the user name; a Secret without it means the default user."""
    password_key: SecretKey = "password"  # noqa: S105  # the name of a key, not a password
    """Key of the password."""


class Tls(Model):
    """Encryption to the cache."""

    rules = (
        Rule(
            "self.enabled || !has(self.caSecretName)",
            "tls.caSecretName has no effect: set tls.enabled to true, or remove it",
            holds=lambda tls: tls.enabled or tls.ca_secret_name is None,
            field=".caSecretName",
        ),
    )

    enabled: bool = False
    """Speak TLS to the cache."""
    server_name: str | None = Field(default=None, min_length=1, max_length=253)
    """Name that the server's certificate must carry, where it differs from the address."""
    ca_secret_name: ObjectName | None = None
    """Secret of the same namespace whose `ca.crt` signs the server's certificate."""


class Redis(Model):
    """A Redis-compatible server, or a cluster of them."""

    rules = (
        Rule(
            "self.mode != 'Cluster' || self.database == 0",
            "a cluster has database 0 alone: remove redis.database, or set redis.mode to Standalone",
            holds=lambda redis: redis.mode is not RedisMode.CLUSTER or redis.database == 0,
            field=".database",
        ),
    )

    mode: RedisMode = RedisMode.STANDALONE
    """`Standalone`: one server takes the writes. `Cluster`: a Redis Cluster, from 7.0 on."""
    address: str = Field(
        min_length=1,
        max_length=259,
        pattern=ADDRESS_PATTERN,
        json_schema_extra=matches(
            ADDRESS_PATTERN,
            "write address as host:port without a scheme or a password, such as "
            "redis.shop.svc:6379; credentials belong in credentialsSecretRef",
        ),
    )
    """`host:port` of it, or of a cluster's node; without a dot it is a Service of this namespace."""
    database: int = Field(default=0, ge=0, le=1023)
    """Number of the logical database."""
    credentials_secret_ref: SecretRef | None = None
    """Credentials; without it the operator connects without any."""
    tls: Tls = Field(default_factory=Tls)
    """Encryption to the cache."""


class Limits(Model):
    """How hard the operator may work on this cache; shared by all rollouts that use it."""

    keys_per_second: int = Field(default=50_000, ge=10, le=10_000_000)
    """Most keys copied, touched or removed in a second."""
    duty_cycle_percent: int = Field(default=25, ge=1, le=100)
    """Share of the server's time that the operator's commands may take."""
    memory_ceiling_percent: int = Field(default=85, ge=10, le=95)
    """Filling stops where used memory would pass this share of maxmemory."""


class CacheBackendSpec(Model):
    """A cache that rollouts of this namespace may use."""

    redis: Redis
    """Where the cache is and how to speak to it."""
    key_prefixes: list[KeyPrefix] = Field(min_length=1, max_length=64, json_schema_extra=as_set())
    """Prefixes, with their delimiter, outside which no key is ever touched, such as `user:`."""
    limits: Limits = Field(default_factory=Limits)
    """How hard the operator may work on this cache."""
