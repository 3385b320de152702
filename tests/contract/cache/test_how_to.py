"""The commands and the program of docs/how-to/move-a-cache-by-hand.md, run as they stand there."""

import asyncio
import json
import os
import re
import shlex
import sys

from cacherollout.cache import Connection
from tests.contract.cache.commands import ROOT, finish, start
from tests.contract.cache.conftest import RedisProcess, dump

_PAGE = (ROOT / "docs/how-to/move-a-cache-by-hand.md").read_text(encoding="utf-8")
_PLACE = "redis://operator@localhost:6379"


async def _fill(client: Connection) -> None:
    value = json.dumps({"id": 1, "email": "a@b"})
    await client.pipeline([("SET", f"user:v2:{n}", value, "EX", 600) for n in range(100)])


async def test_the_commands(client: Connection, shared_redis: RedisProcess) -> None:
    await _fill(client)
    await client.call("ACL", "SETUSER", "operator", *["reset", "on", ">secret", "~user:*", "+@all"])
    try:
        found = re.findall(r"^\$ cacherollout cache (.*)$", _PAGE, re.MULTILINE)
        assert len(found) == 8
        for line in found:
            place = f"redis://operator@127.0.0.1:{shared_redis.port}"
            assert _PLACE in line
            done = await finish(
                await start(*shlex.split(line.replace(_PLACE, place)), password="secret")
            )
            assert done.code == 0, f"{line}: {done.stderr}"
    finally:
        await client.call("ACL", "DELUSER", "operator")
    keys = set(await dump(client))
    assert keys == {b"user:v3:%d" % n for n in range(100)}


async def test_the_program(client: Connection, shared_redis: RedisProcess) -> None:
    await _fill(client)
    (program,) = re.findall(r"^```python\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)
    program = program.replace('"localhost", 6379', f'"127.0.0.1", {shared_redis.port}')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    done = await finish(process)
    assert done.code == 0, done.stderr
    assert done.stdout == "100 copied, 0 corrupt\n"
    assert len(await dump(client)) == 200
