"""A simulated Deployment moves as Kubernetes moves a real one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacherollout.api.ledger import Counters
from cacherollout.core.plan.clusters import Cluster, Shape


def run(cluster: Cluster, seconds: int) -> list[tuple[int, int]]:
    seen = []
    for _ in range(seconds):
        cluster.control()
        seen.append(cluster.serving())
        cluster.now += 1
    return seen


@given(st.integers(1, 40), st.integers(0, 10), st.integers(0, 10), st.integers(0, 20))
def test_an_update_keeps_to_its_strategy_and_ends(
    replicas: int, surge: int, unavailable: int, start: int
) -> None:
    shape = Shape(replicas, surge, unavailable or (surge == 0), float(start))
    cluster = Cluster(shape, is_paused=False)
    for _ in range((replicas + 2) * (start + 2)):
        cluster.control()
        assert len(cluster.old) + len(cluster.new) <= replicas + surge
        assert sum(cluster.serving()) >= replicas - shape.unavailable
        if cluster.target_facts().is_complete:
            break
        cluster.now += 1
    assert cluster.serving() == (0, replicas)


def test_a_paused_update_stands_still_wherever_it_is() -> None:
    cluster = Cluster(Shape(10, 2, 0, 5.0), is_paused=False)
    run(cluster, 8)
    cluster.is_paused = True
    run(cluster, 6)  # what had begun to start becomes ready
    where = cluster.serving()
    assert 0 < where[1] < 10
    assert set(run(cluster, 30)) == {where}


def test_a_canary_serves_once_it_runs_and_was_admitted() -> None:
    cluster = Cluster(Shape(4, 1, 0, 5.0))
    cluster.canary_size = 1
    assert run(cluster, 10)[-1] == (4, 0)
    cluster.canary[0].is_admitted = True
    assert run(cluster, 1) == [(4, 1)]
    assert cluster.share == pytest.approx(0.2)


def test_pods_count_what_they_served_and_nothing_from_before() -> None:
    cluster = Cluster(Shape(4, 1, 0, 0.0))
    cluster.count(Counters(lookups=400), Counters())
    cluster.canary_size = 1
    run(cluster, 1)
    cluster.canary[0].is_admitted = True
    run(cluster, 1)
    cluster.count(Counters(lookups=400), Counters(lookups=70))
    counted = {pod.uid: pod.counters.lookups for pod in cluster.measure()}
    assert sorted(counted.values()) == [70, 200, 200, 200, 200]
    cluster.canary_size = 2
    run(cluster, 1)
    cluster.canary[1].is_admitted = True
    run(cluster, 1)
    cluster.count(Counters(), Counters(lookups=20))
    newest = cluster.measure()[-1]
    assert newest.counters.lookups == 10
