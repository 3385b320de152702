"""Everything that is wrong with the broken releases, and nothing else. Copy no line of it.

Each defect sits at one seam: the codec, the Redis client, the request or readiness.
"""

import asyncio
import json
import random
from dataclasses import replace
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from blingauto.cache.codec import Codec
from blingauto.cache.store import Client
from blingauto.families import Families
from blingauto.releases import Defect

_EVERY = 5  # one id in five is hit by a defect of values: 20 %
_ERROR_SHARE = 0.05
_SLOW_SHARE = 0.3
_SLOW_SECONDS = (0.055, 0.075)  # beyond 50 ms, yet within the timeout of 100 ms


class _BadValues:
    """Spoils the stored form of one id in five; what the caller gets back stays right."""

    def __init__(self, codec: Codec[Any], defect: Defect) -> None:
        self._codec = codec
        self._defect = defect

    def encode(self, value: Any) -> bytes:
        data = self._codec.encode(value)
        if value.id % _EVERY != 0:
            return data
        if self._defect is Defect.UNDECODABLE:
            return data[: len(data) // 2]
        fields = json.loads(data)
        del fields["role"]
        return json.dumps(fields).encode()

    def decode(self, data: bytes) -> Any:
        return self._codec.decode(data)


class _SlowReads:
    """Holds back a share of the reads."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, name: str, /) -> Any:
        if random.random() < _SLOW_SHARE:  # noqa: S311 - no secret
            await asyncio.sleep(random.uniform(*_SLOW_SECONDS))  # noqa: S311 - no secret
        return await self._client.get(name)

    async def set(self, name: str, value: bytes, /, *, px: int) -> Any:
        return await self._client.set(name, value, px=px)

    async def delete(self, /, *names: str) -> Any:
        return await self._client.delete(*names)


class FailingRequests:
    """Fails a share of the API's requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the unlucky ones with 500, pass the others on."""
        is_api = scope["type"] == "http" and scope["path"].startswith("/api/")
        if is_api and random.random() < _ERROR_SHARE:  # noqa: S311 - no secret
            failure = JSONResponse({"detail": "this release fails one in twenty"}, status_code=500)
            await failure(scope, receive, send)
            return
        await self._app(scope, receive, send)


def spoil_families(defect: Defect, families: Families) -> Families:
    """Users and services whose stored values are wrong, if that is the defect."""
    if defect is Defect.UNDECODABLE:
        return replace(
            families,
            user=replace(families.user, codec=_BadValues(families.user.codec, defect)),
            service=replace(families.service, codec=_BadValues(families.service.codec, defect)),
        )
    if defect is Defect.WRONG_FIELD:
        return replace(
            families, user=replace(families.user, codec=_BadValues(families.user.codec, defect))
        )
    return families


def spoil_client(defect: Defect, client: Client) -> Client:
    """A slow client, if that is the defect."""
    return _SlowReads(client) if defect is Defect.SLOW else client


def is_never_ready(defect: Defect) -> bool:
    """Whether the process must never report ready."""
    return defect is Defect.NEVER_READY


def spoils_requests(defect: Defect) -> bool:
    """Whether `FailingRequests` is to be installed."""
    return defect is Defect.ERRORS
