"""A thin gateway to the API server: dictionaries in, dictionaries out, and our own errors.

The only module that knows the client library. Answers stay raw JSON: validating them against the
library's models is ten times slower and refuses what a newer API server sends.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Self

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from cacherollout.adapters.kube.failures import JSON_PATCH, failure, unreachable
from cacherollout.adapters.kube.pacing import Pace
from cacherollout.adapters.kube.resources import Manifest, Resource
from cacherollout.api import names
from cacherollout.api.reasons import Reason
from cacherollout.ports.errors import DependencyError

TIMEOUT_SECONDS: Final = 10.0
REQUESTS_PER_SECOND: Final = 100.0
BURST: Final = 250
PAGE: Final = 500

_JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
_APPLY_PATCH: Final = "application/apply-patch+yaml"
_MANAGER: Final = {"fieldManager": names.FIELD_MANAGER}


class Client:
    """Requests to one API server, bounded in time and rate.

    Every method may raise DependencyError (FORBIDDEN, API_UNAVAILABLE), ConflictError (the object
    is not what the caller thinks it is) and InvariantError (the request itself is refused).
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        per_second: float = REQUESTS_PER_SECOND,
        burst: int = BURST,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._api = api
        self._api.user_agent = names.FIELD_MANAGER
        self._pace = Pace(per_second, burst)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    @classmethod
    async def in_cluster(cls) -> Self:
        """As the pod's service account; its token is read again every minute."""
        configuration = Configuration()
        try:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise DependencyError(
                Reason.API_UNAVAILABLE, f"No service account to connect with: {error}"
            ) from error
        return cls(ApiClient(configuration))

    @classmethod
    async def from_kubeconfig(cls, path: str | None = None, context: str | None = None) -> Self:
        """As a kubeconfig says; without a path, the one that kubectl would read."""
        configuration = Configuration()
        try:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=path,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
        except (ConfigException, OSError) as error:
            raise DependencyError(
                Reason.API_UNAVAILABLE, f"The kubeconfig cannot be used: {error}"
            ) from error
        return cls(ApiClient(configuration))

    async def close(self) -> None:
        """End the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """The object as it is now; None where there is none."""
        return await self._call("GET", "get", resource, resource.path(namespace, name), gone=True)

    async def select(
        self, resource: Resource, namespace: str, *, labels: str = "", fields: str = ""
    ) -> list[Manifest]:
        """The objects that the selectors select."""
        query = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        found: list[Manifest] = []
        while True:
            page = await self._call("GET", "list", resource, resource.path(namespace), query=query)
            found.extend((page or {}).get("items") or [])
            token = ((page or {}).get("metadata") or {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def create(self, resource: Resource, namespace: str, manifest: Manifest) -> Manifest:
        """The object as created; ConflictError where the name is taken."""
        path = resource.path(namespace)
        return await self._write(
            "POST", "create", resource, path, body=manifest, content_type=_JSON
        )

    async def apply(
        self, resource: Resource, namespace: str, manifest: Manifest, *, force: bool
    ) -> Manifest:
        """Server-side apply: own exactly the fields of `manifest`.

        `metadata.uid` and `metadata.resourceVersion` in it are preconditions.
        """
        path = resource.path(namespace, manifest["metadata"]["name"])
        query = {"force": "true"} if force else {}
        return await self._write(
            "PATCH", "patch", resource, path, body=manifest, content_type=_APPLY_PATCH, query=query
        )

    async def json_patch(
        self, resource: Resource, namespace: str, name: str, operations: list[Manifest]
    ) -> Manifest:
        """Carry out the operations, all or none; ConflictError where a `test` does not hold."""
        path = resource.path(namespace, name)
        return await self._write(
            "PATCH", "patch", resource, path, body=operations, content_type=JSON_PATCH
        )

    async def merge_patch(
        self, resource: Resource, namespace: str, name: str, patch: Manifest
    ) -> Manifest:
        """Overlay `patch`; `metadata.uid` and `metadata.resourceVersion` are preconditions."""
        path = resource.path(namespace, name)
        return await self._write(
            "PATCH", "patch", resource, path, body=patch, content_type=_MERGE_PATCH
        )

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, patch: Manifest
    ) -> Manifest:
        """Overlay `patch` on the status, lists by their merge keys."""
        path = resource.path(namespace, name, "status")
        return await self._write(
            "PATCH", "patch", resource, path, body=patch, content_type=_STRATEGIC_PATCH
        )

    async def replace(
        self, resource: Resource, namespace: str, manifest: Manifest, subresource: str = ""
    ) -> Manifest:
        """Put the whole object; ConflictError where its resourceVersion is no longer the newest."""
        path = resource.path(namespace, manifest["metadata"]["name"], subresource)
        return await self._write("PUT", "update", resource, path, body=manifest, content_type=_JSON)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str | None = None
    ) -> None:
        """Delete in the background; ConflictError where the object has another UID."""
        options: Manifest = {"propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        path = resource.path(namespace, name)
        await self._call("DELETE", "delete", resource, path, body=options, gone=True)

    async def _write(
        self,
        method: str,
        verb: str,
        resource: Resource,
        path: str,
        *,
        body: Any,
        content_type: str,
        query: Mapping[str, str] | None = None,
    ) -> Manifest:
        asked = {**_MANAGER, **(query or {})}
        answer = await self._call(
            method, verb, resource, path, query=asked, body=body, content_type=content_type
        )
        return answer or {}

    async def _call(
        self,
        method: str,
        verb: str,
        resource: Resource,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        gone: bool = False,
    ) -> Manifest | None:
        """One request; None for a missing object where `gone` says that this is an answer."""
        what = f"{verb} {resource} ({path})"
        await self._pace.take()
        try:
            serialized = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": _JSON, "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._api.call_api(*serialized, _request_timeout=self._timeout)
            content = await answer.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, OSError, ConfigException) as error:
            raise unreachable(error, what) from error
        if answer.status == 404 and gone:
            return None
        if answer.status >= 400:
            raise failure(answer.status, content, answer.headers, what, content_type)
        try:
            parsed: Manifest = json.loads(content)
        except ValueError as error:
            raise unreachable(error, what) from error
        return parsed
