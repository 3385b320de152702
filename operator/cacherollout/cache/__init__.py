"""Move, judge and keep coherent the namespaces of a Redis cache, at the server's own pace.

A library of its own: it knows keys, versions and servers, and nothing of Kubernetes or of the
operator. Every operation is built without I/O, run with ``await operation.run()``, may be cancelled
at any await, may be run again at any time, and shows its ``progress`` while it runs::

    server = Standalone(Endpoint("redis", password=…))
    users = Family("user", KeyTemplate.parse("user:{version}:{id}", ("user:",)))
    copy = Copy(server, [users], source="v2", target="v3")
    report = await copy.run()

All keys touched lie under the given families and versions; nothing else is ever written.
"""

from cacherollout.cache.clusters import Cluster
from cacherollout.cache.connections import Command, Connection, Endpoint, Page, Reply
from cacherollout.cache.copies import Copy, CopyCounts, CopyReport
from cacherollout.cache.errors import (
    CacheError,
    ClusterDownError,
    CommandError,
    HeadroomError,
    MovedError,
    NotReadyError,
    OutOfMemoryError,
    ReadOnlyError,
    RefusedError,
    ServerError,
    TemplateError,
    TopologyError,
    UnansweredError,
    UnreachableError,
    WrongTypeError,
)
from cacherollout.cache.facts import Memory, ServerFacts, probe
from cacherollout.cache.heat import Coverage, CoverageReport, Hot, HotIds, HotReport
from cacherollout.cache.keys import Codec, Family, KeyTemplate, Writes, check_version, key_of
from cacherollout.cache.limits import Limits
from cacherollout.cache.mirrors import Mirror, MirrorState
from cacherollout.cache.progress import Progress
from cacherollout.cache.retirements import (
    Keep,
    KeepReport,
    KeptKeys,
    Retire,
    RetiredKeys,
    RetireReport,
)
from cacherollout.cache.rights import missing_rights, missing_rights_to_name
from cacherollout.cache.servers import (
    Channel,
    Primary,
    Sentinel,
    Server,
    Single,
    Standalone,
    Tour,
    Watch,
    Watchable,
)
from cacherollout.cache.surveys import NamespaceSurvey, Survey, SurveyReport, glance
from cacherollout.cache.verifications import FamilyVerdict, Verify, VerifyReport

__all__ = [
    "CacheError",
    "Channel",
    "Cluster",
    "ClusterDownError",
    "Codec",
    "Command",
    "CommandError",
    "Connection",
    "Copy",
    "CopyCounts",
    "CopyReport",
    "Coverage",
    "CoverageReport",
    "Endpoint",
    "Family",
    "FamilyVerdict",
    "HeadroomError",
    "Hot",
    "HotIds",
    "HotReport",
    "Keep",
    "KeepReport",
    "KeptKeys",
    "KeyTemplate",
    "Limits",
    "Memory",
    "Mirror",
    "MirrorState",
    "MovedError",
    "NamespaceSurvey",
    "NotReadyError",
    "OutOfMemoryError",
    "Page",
    "Primary",
    "Progress",
    "ReadOnlyError",
    "RefusedError",
    "Reply",
    "Retire",
    "RetireReport",
    "RetiredKeys",
    "Sentinel",
    "Server",
    "ServerError",
    "ServerFacts",
    "Single",
    "Standalone",
    "Survey",
    "SurveyReport",
    "TemplateError",
    "TopologyError",
    "Tour",
    "UnansweredError",
    "UnreachableError",
    "Verify",
    "VerifyReport",
    "Watch",
    "Watchable",
    "Writes",
    "WrongTypeError",
    "check_version",
    "glance",
    "key_of",
    "missing_rights",
    "missing_rights_to_name",
    "probe",
]
