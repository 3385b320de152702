"""Admins' objects beside a rollout: where its cache is, and the credentials for it."""

from typing import Any, Protocol


class Objects(Protocol):
    """Reads single objects, live. Raises DependencyError where the API server denies or fails."""

    async def get_backend(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The CacheBackend as stored; None when there is none."""
        ...

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        """The decoded data of a Secret; None when there is none."""
        ...
