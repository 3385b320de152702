"""The bound on requests, in virtual time."""

import asyncio

import pytest

from cacherollout.adapters.kube.pacing import Pace


@pytest.mark.looptime
async def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    loop = asyncio.get_running_loop()
    pace = Pace(per_second=100, burst=250)
    passed: list[float] = []

    async def caller() -> None:
        await pace.take()
        passed.append(loop.time())

    began = loop.time()
    await asyncio.gather(*(caller() for _ in range(450)))
    times = [at - began for at in passed]
    assert sum(at == 0.0 for at in times) == 250
    assert times[-1] == pytest.approx(2.0)
    assert times == sorted(times)


@pytest.mark.looptime
async def test_rest_earns_a_burst_and_never_more() -> None:
    loop = asyncio.get_running_loop()
    pace = Pace(per_second=100, burst=10)
    for _ in range(10):
        await pace.take()
    await asyncio.sleep(3600)
    began = loop.time()
    for _ in range(10):
        await pace.take()
    assert loop.time() == began
    await pace.take()
    assert loop.time() - began == pytest.approx(0.01)
