"""Wrong resources, by what is wrong with them, and what the refusal must say.

Each is a good resource with a few fields changed. The refusal must name the field and hold the
words that tell a person what to write instead.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

MISSING: Final = object()
"""Given as a value, takes the field away."""

ROLLOUT: Final[dict[str, Any]] = {
    "apiVersion": "cacherollout.io/v1alpha1",
    "kind": "CacheRollout",
    "metadata": {"name": "shop-api", "namespace": "default"},
    "spec": {
        "targetRef": {"name": "shop-api"},
        "cache": {
            "backendRef": {"name": "main"},
            "families": [
                {"name": "user", "key": "user:{version}:{id}", "required": ["id"]},
                {
                    "name": "orders",
                    "key": "order:{version}:list:{id}",
                    "warm": "Replay",
                    "replayPath": "/users/{id}/orders",
                },
            ],
        },
        "canary": {"replicas": "10%", "maxReplicas": "50%"},
        "gates": {"cacheHitRate": {"target": "80%", "alert": "50%"}},
        "metrics": {"port": 8080},
        "originLoad": {"budget": 1.5},
        "soak": "5m",
        "deadline": "20m",
    },
}
BACKEND: Final[dict[str, Any]] = {
    "apiVersion": "cacherollout.io/v1alpha1",
    "kind": "CacheBackend",
    "metadata": {"name": "main", "namespace": "default"},
    "spec": {
        "redis": {
            "address": "redis.shop.svc:6379",
            "credentialsSecretRef": {"name": "redis"},
            "tls": {"enabled": True, "caSecretName": "redis-ca"},
        },
        "keyPrefixes": ["user:", "order:"],
        "limits": {"keysPerSecond": 50_000},
    },
}


@dataclass(frozen=True, slots=True)
class Case:
    """One refusal: what is changed, by path, and what must be said."""

    sentence: str
    changes: dict[str, Any]
    names: str
    """The field as the API server must name it."""
    says: str
    """The words that hold the fix."""
    is_known_to_python: bool = True
    """False where only the API server tells: unread fields, and numbers, which factories use."""


def changed(resource: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of a resource with `changes`, whose paths lead from `spec` as in `cache.families.0`."""
    copy = deepcopy(resource)
    for path, value in changes.items():
        *parents, last = path.split(".") if path else ["spec"]
        node: Any = copy["spec"] if path else copy
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        if value is MISSING:
            del node[last]
        elif isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value
    return copy


_NAME = "lower-case letters, digits"
_VERSION = "such as v3"
_ENV = "such as CACHE_VERSION"
_PERCENT = "such as 80% or 0.1%"
_DURATION = "such as 10ms, 30s, 5m or 1h30m"
_COUNT = "a share from 1% to 100%"
_PATH = "such as /users/{id}"
_FAMILY = "cache.families.0"
_KEY = f"{_FAMILY}.key"
_KEY_FIELD = "spec.cache.families[0].key"
_REPLAY = "cache.families.1.replayPath"
_REPLAY_FIELD = "spec.cache.families[1].replayPath"
_HIT = "gates.cacheHitRate"
_NAMED = "cache.versionsKey"
_NAMED_FIELD = "spec.cache.versionsKey"
_UNDER = "begins otherwise, such as app:versions"
_UNKNOWN = "unknown field"

ROLLOUT_CASES: Final = (
    Case("no spec at all", {"": MISSING}, "spec", "Required value"),
    Case("an empty spec", {"": {}}, "spec.targetRef", "Required value"),
    Case("a spec that is null", {"": None}, "spec", "Required value"),
    Case("a spec that is a list", {"": []}, "spec", "must be of type object"),
    Case("no name of the target", {"targetRef": {}}, "spec.targetRef.name", "Required value"),
    Case("no families", {"cache.families": []}, "spec.cache.families", "at least 1 items"),
    Case("no backend", {"cache.backendRef": MISSING}, "spec.cache.backendRef", "Required value"),
    Case("a target in capitals", {"targetRef.name": "Shop"}, "spec.targetRef.name", _NAME),
    Case("a target with a slash", {"targetRef.name": "a/b"}, "spec.targetRef.name", _NAME),
    Case("a target of 254 letters", {"targetRef.name": "a" * 254}, "targetRef.name", "253"),
    Case(
        "a target of another kind",
        {"targetRef.kind": "StatefulSet"},
        "spec.targetRef.kind",
        _UNKNOWN,
        is_known_to_python=False,
    ),
    Case(
        "a target of another namespace",
        {"targetRef.namespace": "kube-system"},
        "spec.targetRef.namespace",
        _UNKNOWN,
        is_known_to_python=False,
    ),
    Case(
        "a backend of another namespace",
        {"cache.backendRef.namespace": "other"},
        "spec.cache.backendRef.namespace",
        _UNKNOWN,
        is_known_to_python=False,
    ),
    Case(
        "a misspelled field",
        {"rollBackWindow": "15m"},
        "spec.rollBackWindow",
        _UNKNOWN,
        is_known_to_python=False,
    ),
    Case("a container in capitals", {"targetRef.container": "API"}, "container", "such as api"),
    Case("an empty version", {"cache.version": ""}, "spec.cache.version", _VERSION),
    Case("a version that is a glob", {"cache.version": "v*"}, "spec.cache.version", _VERSION),
    Case("a version with a colon", {"cache.version": "v1:2"}, "spec.cache.version", _VERSION),
    Case("a version with a space", {"cache.version": "v 3"}, "spec.cache.version", _VERSION),
    Case("a version with a newline", {"cache.version": "v3\n"}, "spec.cache.version", _VERSION),
    Case("a version with braces", {"cache.version": "v{3}"}, "spec.cache.version", _VERSION),
    Case("a version with a dash first", {"cache.version": "-v3"}, "spec.cache.version", _VERSION),
    Case("a version right to left", {"cache.version": "\u202ev3"}, "cache.version", _VERSION),
    Case("a version of ten thousand", {"cache.version": "v" * 10_000}, "cache.version", "32"),
    Case("a version that is a number", {"cache.version": 3}, "spec.cache.version", "string"),
    Case("Auto in small letters", {"cache.version": "auto"}, "spec.cache.version", "capitals"),
    Case("Auto as the first version", {"cache.initialVersion": "Auto"}, "initialVersion", "v1"),
    Case("PATH as the variable", {"cache.env": "PATH"}, "spec.cache.env", _ENV),
    Case("LD_PRELOAD as the variable", {"cache.env": "LD_PRELOAD"}, "spec.cache.env", _ENV),
    Case("a variable in small letters", {"cache.env": "cache_version"}, "spec.cache.env", _ENV),
    Case("a versions key with a glob", {_NAMED: "app:*"}, _NAMED_FIELD, "such as app:versions"),
    Case("a versions key with a space", {_NAMED: "app: v"}, _NAMED_FIELD, "such as app:versions"),
    Case("a versions key with a line break", {_NAMED: "app:v\r\nDEL"}, _NAMED_FIELD, "letters"),
    Case("a versions key of nothing", {_NAMED: ""}, _NAMED_FIELD, "such as app:versions"),
    Case("a versions key of two letters", {_NAMED: "ab"}, _NAMED_FIELD, "3"),
    Case("a versions key of 129 letters", {_NAMED: "a" * 129}, _NAMED_FIELD, "128"),
    Case("a versions key that is a user", {_NAMED: "user:v1:7"}, _NAMED_FIELD, _UNDER),
    Case("a versions key that is a list", {_NAMED: "order:v1:list:7"}, _NAMED_FIELD, _UNDER),
    Case(
        "deleting under versions that nobody names",
        {f"{_FAMILY}.writes": "InvalidateAll"},
        "spec.cache.families",
        "set it, such as app:versions, or write Invalidate",
    ),
    Case(
        "two families of one name",
        {"cache.families.1.name": "user"},
        "spec.cache.families[1]",
        "Duplicate value",
    ),
    Case(
        "two families of one key",
        {"cache.families.1.key": "user:{version}:{id}"},
        "spec.cache.families",
        "give each its own",
    ),
    Case(
        "more families than anyone has",
        {
            "cache.families": [
                {"name": f"f{n}", "key": f"f{n}a:{{version}}:{{id}}"} for n in range(33)
            ]
        },
        "spec.cache.families",
        "at most 32 items",
    ),
    Case("a family in capitals", {f"{_FAMILY}.name": "User"}, "families[0].name", "such as user"),
    Case("an empty key", {_KEY: ""}, _KEY_FIELD, "such as user:{version}:{id}"),
    Case("a key that takes everything", {_KEY: "*"}, _KEY_FIELD, "{version} once"),
    Case("a key without the version", {_KEY: "user:{id}"}, _KEY_FIELD, "{version} once"),
    Case("a key without the id", {_KEY: "user:{version}:"}, _KEY_FIELD, "{id} once"),
    Case("a key the wrong way around", {_KEY: "user:{id}:{version}"}, _KEY_FIELD, "after it"),
    Case("a key with both twice", {_KEY: "u:{version}:{version}:{id}"}, _KEY_FIELD, "once"),
    Case("a key with another hole", {_KEY: "u:{version}:{id}:{tenant}"}, _KEY_FIELD, "no other"),
    Case("a key without delimiter", {_KEY: "user:{version}{id}"}, _KEY_FIELD, "delimiter"),
    Case("a delimiter that versions hold", {_KEY: "user:{version}-{id}"}, _KEY_FIELD, "v10"),
    Case("a key without a prefix", {_KEY: "{version}:{id}"}, _KEY_FIELD, "three characters"),
    Case("a key with a short prefix", {_KEY: "u:{version}:{id}"}, _KEY_FIELD, "three characters"),
    Case("a key with a glob", {_KEY: "use?:{version}:{id}"}, _KEY_FIELD, "glob characters"),
    Case("a key with a space", {_KEY: "user :{version}:{id}"}, _KEY_FIELD, "spaces"),
    Case("a key with a line break", {_KEY: "user:{version}:{id}\r\nDEL"}, _KEY_FIELD, "spaces"),
    Case("a time to live of nothing", {f"{_FAMILY}.ttl": "0s"}, "families[0].ttl", "above 0s"),
    Case("a codec nobody knows", {f"{_FAMILY}.codec": "pickle"}, "families[0].codec", '"json"'),
    Case("warm in small letters", {f"{_FAMILY}.warm": "copy"}, "families[0].warm", '"Copy"'),
    Case(
        "fields of values nobody can read",
        {f"{_FAMILY}.codec": "opaque"},
        "spec.cache.families[0].required",
        "codec: json",
    ),
    Case(
        "a required field twice",
        {f"{_FAMILY}.required": ["a", "a"]},
        "required",
        "Duplicate",
        is_known_to_python=False,
    ),
    Case("replay without a path", {_REPLAY: MISSING}, _REPLAY_FIELD, _PATH),
    Case("replay from elsewhere", {_REPLAY: "http://evil/{id}"}, _REPLAY_FIELD, "no scheme"),
    Case("replay from another host", {_REPLAY: "//evil/{id}"}, _REPLAY_FIELD, "empty segment"),
    Case("replay out of the folder", {_REPLAY: "/../admin/{id}"}, _REPLAY_FIELD, "'..'"),
    Case("replay of an encoded path", {_REPLAY: "/%2e%2e/{id}"}, _REPLAY_FIELD, "encoded"),
    Case("replay with a query", {_REPLAY: "/users?id={id}"}, _REPLAY_FIELD, "query"),
    Case("replay with a header", {_REPLAY: "/{id}\r\nHost: evil"}, _REPLAY_FIELD, _PATH),
    Case("replay of no id", {_REPLAY: "/users"}, _REPLAY_FIELD, "one {id}"),
    Case("replay of a huge path", {_REPLAY: "/a" * 5000 + "/{id}"}, _REPLAY_FIELD, "256"),
    Case("no canary", {"canary.replicas": 0}, "spec.canary.replicas", "greater than or equal to 1"),
    Case("less than no canary", {"canary.replicas": -1}, "spec.canary.replicas", "equal to 1"),
    Case("a canary of 0%", {"canary.replicas": "0%"}, "spec.canary.replicas", _COUNT),
    Case("a canary of 101%", {"canary.replicas": "101%"}, "spec.canary.replicas", _COUNT),
    Case("a canary without unit", {"canary.replicas": "10"}, "spec.canary.replicas", _COUNT),
    Case("half a canary", {"canary.replicas": 0.5}, "spec.canary.replicas", "integer"),
    Case(
        "a canary above its limit",
        {"canary.replicas": 5, "canary.maxReplicas": 3},
        "spec.canary.maxReplicas",
        "at least canary.replicas",
    ),
    Case(
        "hit rates the wrong way around",
        {_HIT: {"target": "50%", "alert": "80%"}},
        "spec.gates.cacheHitRate.alert",
        "below cacheHitRate.target",
    ),
    Case("equal hit rates", {f"{_HIT}.alert": "80%"}, "cacheHitRate.alert", "below"),
    Case(
        "a share without unit",
        {f"{_HIT}.target": 0.8},
        "cacheHitRate.target",
        "string",
        is_known_to_python=False,
    ),
    Case("a share as text", {f"{_HIT}.target": "0.8"}, "spec.gates.cacheHitRate.target", _PERCENT),
    Case("a share above all", {f"{_HIT}.target": "101%"}, "cacheHitRate.target", _PERCENT),
    Case("a negative share", {f"{_HIT}.alert": "-1%"}, "cacheHitRate.alert", _PERCENT),
    Case("a share that is no number", {f"{_HIT}.alert": "NaN%"}, "cacheHitRate.alert", _PERCENT),
    Case("a hit rate nobody reaches", {f"{_HIT}.target": "100%"}, "target", "below 100%"),
    Case("a hit rate nobody misses", {f"{_HIT}.alert": "0%"}, "cacheHitRate.alert", "above 0%"),
    Case(
        "error rates the wrong way around",
        {"gates.cacheErrorRate": {"target": "1%", "alert": "0.1%"}},
        "spec.gates.cacheErrorRate.alert",
        "above cacheErrorRate.target",
    ),
    Case(
        "an error rate that nobody can prove",
        {"gates.httpErrorRate": {"target": "0%"}},
        "spec.gates.httpErrorRate.target",
        "above 0%",
    ),
    Case(
        "an error rate that everybody passes",
        {"gates.httpErrorRate": {"alert": "100%"}},
        "spec.gates.httpErrorRate.alert",
        "below 100%",
    ),
    Case(
        "latencies the wrong way around",
        {"gates.cacheLatency": {"p95": "50ms", "alert": "10ms"}},
        "spec.gates.cacheLatency.alert",
        "above cacheLatency.p95",
    ),
    Case(
        "a latency of nothing",
        {"gates.cacheLatency": {"p95": "0ms"}},
        "spec.gates.cacheLatency.p95",
        "above 0ms",
    ),
    Case(
        "memory the wrong way around",
        {"gates.redisMemory": {"target": "90%", "alert": "80%"}},
        "spec.gates.redisMemory.alert",
        "above redisMemory.target",
    ),
    Case("a sample of none", {"gates.integrity": {"sample": 0}}, "sample", "equal to 1"),
    Case("a sample of all", {"gates.integrity": {"sample": 2**63}}, "sample", "10000"),
    Case("a port that is none", {"metrics.port": 65_536}, "spec.metrics.port", "equal to 65535"),
    Case("a port in words", {"metrics.port": "http"}, "spec.metrics.port", "integer"),
    Case("metrics from elsewhere", {"metrics.path": "http://evil/"}, "metrics.path", "no scheme"),
    Case("metrics of another host", {"metrics.path": "//evil"}, "metrics.path", "empty segment"),
    Case("metrics out of the folder", {"metrics.path": "/../secret"}, "metrics.path", "'..'"),
    Case("metrics each millisecond", {"metrics.interval": "1ms"}, "metrics.interval", "1s"),
    Case("metrics once an hour", {"metrics.interval": "1h"}, "metrics.interval", "at most 1m"),
    Case("a budget of nothing", {"originLoad.budget": 1}, "originLoad.budget", "from 1.05"),
    Case("a budget of eleven", {"originLoad.budget": 11}, "originLoad.budget", "equal to 10"),
    Case("a soak without unit", {"soak": "300"}, "spec.soak", _DURATION),
    Case("a soak that is a number", {"soak": 300}, "spec.soak", "string", is_known_to_python=False),
    Case("a soak in words", {"soak": "five minutes"}, "spec.soak", _DURATION),
    Case("a negative soak", {"soak": "-5m"}, "spec.soak", _DURATION),
    Case("a soak longer than the deadline", {"soak": "30m"}, "spec.deadline", "as long as soak"),
    Case("no time at all", {"soak": "0s", "deadline": "0s"}, "spec.deadline", "above 0s"),
    Case("a window of ages", {"rollbackWindow": "9999999h"}, "spec.rollbackWindow", _DURATION),
    Case("yes for a duration", {"rollbackWindow": True}, "spec.rollbackWindow", "string"),
    Case("a list for a part", {"gates": []}, "spec.gates", "object"),
)

_ADDRESS = "redis.address"
_PREFIX_FIX = "such as user:"

BACKEND_CASES: Final = (
    Case("an empty backend", {"": {}}, "spec.redis", "Required value"),
    Case("no address", {_ADDRESS: MISSING}, "spec.redis.address", "Required value"),
    Case("an address that is a URL", {_ADDRESS: "redis://redis:6379"}, "address", "scheme"),
    Case("a password in the address", {_ADDRESS: "u:p@redis:6379"}, "address", "credentials"),
    Case("an address without port", {_ADDRESS: "redis"}, "spec.redis.address", "host:port"),
    Case("an address with port 0", {_ADDRESS: "redis:0"}, "spec.redis.address", "host:port"),
    Case("an address with port 65536", {_ADDRESS: "redis:65536"}, "redis.address", "host:port"),
    Case("a host with a line break", {_ADDRESS: "a\r\nb:1"}, "spec.redis.address", "host:port"),
    Case("a mode to come", {"redis.mode": "Sentinel"}, "spec.redis.mode", '"Standalone"'),
    Case(
        "a database in a cluster",
        {"redis.mode": "Cluster", "redis.database": 1},
        "spec.redis.database",
        "database 0 alone",
    ),
    Case("a negative database", {"redis.database": -1}, "spec.redis.database", "equal to 0"),
    Case(
        "a Secret of another namespace",
        {"redis.credentialsSecretRef.namespace": "other"},
        "credentialsSecretRef.namespace",
        _UNKNOWN,
        is_known_to_python=False,
    ),
    Case(
        "a Secret in capitals",
        {"redis.credentialsSecretRef.name": "Redis"},
        "spec.redis.credentialsSecretRef.name",
        _NAME,
    ),
    Case(
        "a Secret's key with a slash",
        {"redis.credentialsSecretRef.passwordKey": "a/b"},
        "credentialsSecretRef.passwordKey",
        "letters, digits",
    ),
    Case(
        "a certificate for nothing",
        {"redis.tls.enabled": False},
        "spec.redis.tls.caSecretName",
        "set tls.enabled to true",
    ),
    Case("no prefixes", {"keyPrefixes": []}, "spec.keyPrefixes", "at least 1 items"),
    Case("a prefix of nothing", {"keyPrefixes": [""]}, "spec.keyPrefixes[0]", _PREFIX_FIX),
    Case("a prefix of everything", {"keyPrefixes": ["*"]}, "spec.keyPrefixes[0]", _PREFIX_FIX),
    Case("a prefix too short", {"keyPrefixes": ["u:"]}, "keyPrefixes[0]", "two characters"),
    Case("a prefix without end", {"keyPrefixes": ["user"]}, "keyPrefixes[0]", "a delimiter"),
    Case("a prefix with a glob", {"keyPrefixes": ["us?r:"]}, "keyPrefixes[0]", "glob"),
    Case(
        "a prefix twice",
        {"keyPrefixes": ["user:", "user:"]},
        "keyPrefixes[1]",
        "Duplicate",
        is_known_to_python=False,
    ),
    Case("a speed of nothing", {"limits.keysPerSecond": 0}, "keysPerSecond", "equal to 10"),
    Case("all of the server", {"limits.dutyCyclePercent": 101}, "dutyCycle", "equal to 100"),
    Case("all of the memory", {"limits.memoryCeilingPercent": 100}, "memoryCeiling", "to 95"),
)
