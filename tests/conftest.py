"""What every ring of the tests shares."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long an example takes says something about the machine, nothing about the code.
settings.register_profile("cacherollout", deadline=None)
settings.load_profile("cacherollout")


@pytest.fixture(scope="session", autouse=True)
def _loop_of_the_main_thread() -> Iterator[None]:
    """Give the main thread a loop and close it: a plugin asks for one even around plain tests.

    The policy would make one that nobody closes, and its warning would hit whichever test runs
    when the garbage collector finds it.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
