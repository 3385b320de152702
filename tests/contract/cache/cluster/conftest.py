"""One cluster for all tests of this directory; each finds it whole and empty."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from cacherollout.cache import Family, KeyTemplate
from tests.contract.cache.cluster.clusters import RedisCluster
from tests.contract.cache.conftest import PREFIXES

TEMPLATES = {"plain": "user:{version}:{id}", "tagged": "user:{version}:{{id}}"}


@pytest.fixture(scope="session")
def shared_cluster(
    redis_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    try:
        asyncio.run(cluster.create())
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
async def cluster(shared_cluster: RedisCluster) -> AsyncIterator[RedisCluster]:
    await shared_cluster.heal()
    await shared_cluster.on_all("FLUSHALL")
    await shared_cluster.settle()
    yield shared_cluster
    await shared_cluster.heal()


@pytest.fixture(params=[*TEMPLATES.values()], ids=[*TEMPLATES])
def family(request: pytest.FixtureRequest) -> Family:
    return Family("user", KeyTemplate.parse(request.param, PREFIXES), required=("id",))
