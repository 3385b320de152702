"""The port `Objects` on a real API server: single reads of admins' objects, never a list."""

import base64
from typing import Any

from cacherollout.adapters.kube.client import Client
from cacherollout.adapters.kube.resources import BACKENDS, SECRETS


class KubeObjects:
    """Reads CacheBackends and the Secrets that they name."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get_backend(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The CacheBackend as stored; None when there is none."""
        return await self._client.get(BACKENDS, namespace, name)

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        """The decoded data of a Secret; None when there is none."""
        secret = await self._client.get(SECRETS, namespace, name)
        if secret is None:
            return None
        # The API server stores nothing but valid base64 here.
        data = secret.get("data") or {}
        return {key: base64.b64decode(value) for key, value in data.items()}
