"""CacheBackend: where a cache is, who may touch what in it, and how fast. An admin's object.

Host, credentials and key prefixes stand together in one object on purpose: whoever may create a
CacheRollout can name a backend, but cannot send its password elsewhere or widen its prefixes.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from cacherollout.api.models import Model, ruled

NamePattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=NamePattern)]
KeyPrefix = Annotated[
    str, StringConstraints(min_length=2, max_length=64, pattern=r"^[^*?\[\]{}\\\s]+[:/|.#_-]$")
]


class RedisMode(StrEnum):
    """How the servers behind the address are organised."""

    STANDALONE = "Standalone"


class SecretRef(Model):
    """Credentials in a Secret of the same namespace."""

    name: ObjectName
    """Name of the Secret."""
    username_key: str = Field(default="username", min_length=1, max_length=253)
    """Key of the user name; a Secret without it means the default user."""
    password_key: str = Field(default="password", min_length=1, max_length=253)
    """Key of the password."""


class Tls(Model):
    """Encryption to the cache."""

    model_config = ruled(
        (
            "self.enabled || !has(self.caSecretName)",
            "redis.tls.caSecretName has no effect: set redis.tls.enabled to true, or remove it",
        )
    )

    enabled: bool = False
    """Speak TLS to the cache."""
    server_name: str | None = Field(default=None, min_length=1, max_length=253)
    """Name that the server's certificate must carry, where it differs from the address."""
    ca_secret_name: ObjectName | None = None
    """Secret of the same namespace whose `ca.crt` signs the server's certificate."""


class Redis(Model):
    """A Redis-compatible server."""

    mode: RedisMode = RedisMode.STANDALONE
    """How the servers behind the address are organised."""
    address: str = Field(
        min_length=3,
        max_length=259,
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[0-9]{1,5}$",
    )
    """`host:port` of the cache, as seen from the operator's pod."""
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
    key_prefixes: list[KeyPrefix] = Field(min_length=1, max_length=64)
    """Prefixes, with their delimiter, outside which no key is ever touched, such as `user:`."""
    limits: Limits = Field(default_factory=Limits)
    """How hard the operator may work on this cache."""
