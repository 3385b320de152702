"""One event loop for all scenarios; time in them is the world's own."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.scenario.loops import Scenario


@pytest.fixture(scope="session", autouse=True)
def _one_loop() -> Iterator[None]:
    loop = asyncio.new_event_loop()
    Scenario.loop = loop
    yield
    loop.close()
