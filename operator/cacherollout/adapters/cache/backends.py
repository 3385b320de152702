"""From the name of a CacheBackend to a server that can be used, and how that server is.

Credentials are read again when the server refuses them, so a rotated Secret is taken up without a
restart; otherwise object and Secret are read at most once a minute. The password goes into the
connection and nowhere else: no message, log line or representation carries it.
"""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from cacherollout.adapters.cache.pacing import Turnstile
from cacherollout.adapters.cache.problems import ProblemError, problem
from cacherollout.api.backend import CacheBackendSpec, RedisMode
from cacherollout.api.names import Key
from cacherollout.api.reasons import Reason
from cacherollout.cache import (
    CacheError,
    Cluster,
    Endpoint,
    Primary,
    RefusedError,
    ServerFacts,
    Standalone,
    Tour,
    Watch,
    Watchable,
    probe,
)
from cacherollout.core.facts import Problem
from cacherollout.ports.errors import DependencyError
from cacherollout.ports.objects import Objects

FRESH_SECONDS: Final = 60.0
"""Time for which object and Secret are not read again."""
RETRY_SECONDS: Final = 2.0
"""The same after a problem, and for the answer of a health check."""
PROBE_SECONDS: Final = 1.5
"""Time for the server to say how it is."""


class LiveServer:
    """A server at a fixed place whose credentials may change under way."""

    def __init__(self, endpoint: Endpoint, mode: RedisMode) -> None:
        self._mode = mode
        self.endpoint = endpoint

    @property
    def endpoint(self) -> Endpoint:
        """Where it is, and the newest credentials."""
        return self._endpoint

    @endpoint.setter
    def endpoint(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        is_cluster = self._mode is RedisMode.CLUSTER
        self._server: Watchable = Cluster([endpoint]) if is_cluster else Standalone(endpoint)

    def tour(self) -> Tour:
        """Of all primaries, under the newest credentials."""
        return self._server.tour()

    async def primaries(self) -> Sequence[Primary]:
        """All primaries, under the newest credentials."""
        return await self._server.primaries()

    def watch(self, timeout_seconds: float) -> AbstractAsyncContextManager[Watch]:
        """Connect to all primaries, under the newest credentials."""
        return self._server.watch(timeout_seconds)


@dataclass(eq=False, slots=True)
class Backend:
    """A CacheBackend in use. A changed spec makes another one; changed credentials do not."""

    uid: str
    key: Key
    spec: CacheBackendSpec
    server: LiveServer = field(repr=False)
    turnstile: Turnstile = field(repr=False)
    checking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    checked_at: float = float("-inf")
    health: ServerFacts | CacheError | None = None


@dataclass(slots=True)
class _Known:
    """The last look at one CacheBackend."""

    backend: Backend | None
    read_at: float
    refusal: ProblemError | None = None
    has_fresh_credentials: bool = True


class Backends:
    """CacheBackends by name, for all rollouts together."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[Key, _Known] = {}
        self._turnstiles: dict[str, Turnstile] = {}
        self._reading: dict[Key, asyncio.Lock] = {}

    async def resolve(self, key: Key) -> Backend:
        """The backend of that name; raises ProblemError, whose message says the fix."""
        async with self._reading.setdefault(key, asyncio.Lock()):
            known = self._known.get(key)
            if known is None or self._is_stale(known):
                known = await self._read(key, known)
                self._known[key] = known
        if known.refusal is not None:
            raise ProblemError(known.refusal.problem)
        assert known.backend is not None  # noqa: S101 - a look without a refusal found one
        return known.backend

    async def check(self, backend: Backend, *, is_asked_anew: bool = False) -> ServerFacts:
        """What the server says about itself, at most two seconds old; raises CacheError.

        `is_asked_anew` takes no earlier answer. Where the server refuses the credentials, they are
        read again and tried once more.
        """
        asked_at = asyncio.get_running_loop().time()
        async with backend.checking:
            now = asyncio.get_running_loop().time()
            is_old = backend.checked_at < asked_at if is_asked_anew else False
            if is_old or now - backend.checked_at >= RETRY_SECONDS:
                backend.health = await self._probe(backend)
                backend.checked_at = asyncio.get_running_loop().time()
        if isinstance(backend.health, CacheError):
            raise backend.health
        assert backend.health is not None  # noqa: S101 - set by the first check
        return backend.health

    def distrust(self, backend: Backend) -> None:
        """The server refused the credentials: read them again before they are used again."""
        known = self._known.get(backend.key)
        if known is not None:
            known.has_fresh_credentials = False

    async def _probe(self, backend: Backend) -> ServerFacts | CacheError:
        before = backend.server.endpoint
        try:
            return await probe(backend.server, timeout_seconds=PROBE_SECONDS)
        except RefusedError as error:
            self.distrust(backend)
            try:
                await self.resolve(backend.key)
                if backend.server.endpoint != before:
                    return await probe(backend.server, timeout_seconds=PROBE_SECONDS)
            except ProblemError:
                return error  # the next look at the object tells it
            except CacheError as second:
                return second
            return error
        except CacheError as error:
            return error

    def _is_stale(self, known: _Known) -> bool:
        age = asyncio.get_running_loop().time() - known.read_at
        if known.refusal is not None or not known.has_fresh_credentials:
            return age >= RETRY_SECONDS
        return age >= FRESH_SECONDS

    async def _read(self, key: Key, known: _Known | None) -> _Known:
        now = asyncio.get_running_loop().time()
        previous = known.backend if known else None
        try:
            return _Known(await self._build(key, previous), now)
        except DependencyError as error:
            # What the API server once granted stays usable while it does not answer.
            if previous is not None and error.reason is Reason.API_UNAVAILABLE:
                return _Known(previous, now)
            refusal = ProblemError(Problem(error.reason, str(error)))
            return _Known(previous, now, refusal)
        except ProblemError as refusal:
            return _Known(previous, now, refusal)

    async def _build(self, key: Key, previous: Backend | None) -> Backend:
        found = await self._objects.get_backend(key.namespace, key.name)
        if found is None:
            raise problem(
                Reason.BACKEND_MISSING,
                f"CacheBackend {key} does not exist; create it, or correct cache.backendRef.name",
            )
        spec = spec_of(key, found)
        uid = str(found["metadata"]["uid"])
        endpoint = await self._endpoint(key, spec)
        if previous is not None and previous.uid == uid and previous.spec == spec:
            if previous.server.endpoint != endpoint:
                previous.server.endpoint = endpoint
                previous.checked_at = float("-inf")
            return previous
        turnstile = self._turnstiles.setdefault(uid, Turnstile(spec.limits))
        turnstile.limits = spec.limits
        if previous is not None and previous.uid != uid:
            self._turnstiles.pop(previous.uid, None)
        return Backend(uid, key, spec, LiveServer(endpoint, spec.redis.mode), turnstile)

    async def _endpoint(self, key: Key, spec: CacheBackendSpec) -> Endpoint:
        redis = spec.redis
        host, _, port = redis.address.rpartition(":")
        if "." not in host and host != "localhost":
            # The operator may run elsewhere: alone, the name would be looked up in its namespace.
            host = f"{host}.{key.namespace}.svc"
        username, password = "default", None
        if redis.credentials_secret_ref is not None:
            reference = redis.credentials_secret_ref
            field_name = "redis.credentialsSecretRef"
            data = await self._secret(key, reference.name, field_name)
            username = _text(data, reference.username_key, key, field_name) or "default"
            password = _text(data, reference.password_key, key, field_name)
            if not password:
                raise problem(
                    Reason.CACHE_ACCESS_DENIED,
                    f"Secret {key.namespace}/{reference.name} has no key "
                    f"{reference.password_key!r}; add it, or correct {field_name}.passwordKey of "
                    f"CacheBackend {key.name}",
                )
        return Endpoint(
            host=host,
            port=int(port),
            database=redis.database,
            username=username,
            password=password,
            tls=await self._tls(key, spec),
            server_name=redis.tls.server_name,
        )

    async def _tls(self, key: Key, spec: CacheBackendSpec) -> ssl.SSLContext | None:
        tls = spec.redis.tls
        if not tls.enabled:
            return None
        if tls.ca_secret_name is None:
            return ssl.create_default_context()
        data = await self._secret(key, tls.ca_secret_name, "redis.tls.caSecretName")
        authority = _text(data, "ca.crt", key, "redis.tls.caSecretName")
        try:
            return ssl.create_default_context(cadata=authority or "")
        except ssl.SSLError as error:
            raise problem(
                Reason.CACHE_ACCESS_DENIED,
                f"Secret {key.namespace}/{tls.ca_secret_name} holds no certificate under ca.crt; "
                f"store it there in PEM form, or correct redis.tls.caSecretName of CacheBackend "
                f"{key.name}",
            ) from error

    async def _secret(self, key: Key, name: str, field_name: str) -> dict[str, bytes]:
        data = await self._objects.get_secret(key.namespace, name)
        if data is None:
            raise problem(
                Reason.CACHE_ACCESS_DENIED,
                f"Secret {key.namespace}/{name} does not exist; create it, or correct {field_name} "
                f"of CacheBackend {key.name}",
            )
        return data


def _text(data: dict[str, bytes], name: str, key: Key, field_name: str) -> str | None:
    value = data.get(name)
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        # Not chained: the exception carries the bytes.
        raise problem(
            Reason.CACHE_ACCESS_DENIED,
            f"key {name!r} of the Secret in {field_name} of CacheBackend {key} is not UTF-8 text; "
            "store it as text",
        ) from None


def spec_of(key: Key, found: dict[str, Any]) -> CacheBackendSpec:
    """The typed spec of a CacheBackend as stored; raises ProblemError."""
    try:
        return CacheBackendSpec.model_validate(found.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise problem(
            Reason.INVALID_SPEC, f"CacheBackend {key}: spec.{where}: {first['msg'][:200]}"
        ) from None
