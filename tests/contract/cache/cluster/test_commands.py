"""`cacherollout cache --cluster`, run as people and scripts do."""

import json

from cacherollout.cache import Connection, Family, KeyTemplate
from tests.contract.cache.cluster.clusters import RedisCluster, keys_under, plant, some_ids
from tests.contract.cache.cluster.conftest import TEMPLATES
from tests.contract.cache.commands import run
from tests.contract.cache.conftest import PREFIXES, RedisProcess

KEYS = 300


async def test_a_version_is_copied_checked_and_retired(
    cluster: RedisCluster, family: Family
) -> None:
    template = family.template
    key = (template.prefix + b"{version}" + template.middle + b"{id}" + template.tail).decode()
    options = {"family": ("--family", f"user={key}", "--cluster", "-o", "json")}
    await plant(cluster, keys_under(family, "v1", some_ids(KEYS)))
    node = cluster.nodes[-1]

    counted = json.loads((await run(node, "survey", **options)).stdout)  # type: ignore[arg-type]
    assert [(n["version"], n["keys"]) for n in counted["namespaces"]] == [("v1", KEYS)]
    assert counted["server"].endswith("(a cluster)")
    copied = await run(node, "copy", "--from", "v1", "--to", "v2", **options)  # type: ignore[arg-type]
    assert json.loads(copied.stdout)["families"][0]["copied"] == KEYS
    retired = await run(node, "retire", "--version", "v1", "--yes", **options)  # type: ignore[arg-type]
    assert json.loads(retired.stdout)["families"][0]["keys"] == KEYS
    assert sorted(await cluster.dump()) == sorted(keys_under(family, "v2", some_ids(KEYS)))


async def test_a_cluster_taken_for_one_server_is_told_and_so_is_the_reverse(
    cluster: RedisCluster, client: Connection, shared_redis: RedisProcess, family: Family
) -> None:
    await plant(cluster, keys_under(family, "v1", some_ids(KEYS)))
    done = await run(cluster.nodes[0], "verify", "--version", "v1")
    assert done.code == 2
    assert "Add --cluster" in done.stderr
    done = await run(shared_redis, "survey", "--cluster")
    assert done.code == 2
    assert "Leave --cluster out" in done.stderr


async def test_a_right_that_one_node_does_not_grant_is_named(cluster: RedisCluster) -> None:
    family = Family("user", KeyTemplate.parse(TEMPLATES["plain"], PREFIXES))
    await plant(cluster, keys_under(family, "v1", some_ids(KEYS)))
    primaries = await cluster.primaries()
    for index, known in enumerate(primaries):
        client = await known.redis.connect()
        rules = ["reset", "on", ">pw", "~user:*", "+@all", *(["-restore"] if index == 1 else [])]
        await client.call("ACL", "SETUSER", "operator", *rules)
        await client.wait_closed()
    done = await run(
        primaries[0].redis,
        *("copy", "--from", "v1", "--to", "v2", "--cluster"),
        user="operator@",
        password="pw",
    )
    assert done.code == 2
    assert "lacks a right: RESTORE on user:*" in done.stderr
