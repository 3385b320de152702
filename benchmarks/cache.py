"""How fast the cache engine moves keys, and what other clients feel of it.

Starts a redis-server of its own on a free loopback port and prints a table. Unthrottled figures are
ratios to `redis-cli --pipe`, a C client that is given the same keys in the same order and is spared
the SCAN; both run in turn, on the same server, and the medians are compared. The server's own limit
is the rate at which its main thread would do nothing else: its CPU time ÷ the time that passed. Polite figures come
with what a foreground client at a steady rate, in a process of its own, measured meanwhile and
before. Figures of a busy machine are worth little: the load average is printed with them.

    python -m benchmarks.cache [--keys 300000] [--rounds 3]
"""

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cacherollout.cache import (
    Connection,
    Copy,
    Endpoint,
    Family,
    Hot,
    KeyTemplate,
    Limits,
    Mirror,
    Retire,
    Standalone,
)

USERS = Family("user", KeyTemplate.parse("user:{version}:{id}", ("user:",)))
VALUE_BYTES = 300
FULL = Limits.unthrottled()
POLITE = Limits(keys_per_second=None)
FOREGROUND_RATE = 5_000
FOREGROUND_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Row:
    figure: str
    measured: str
    reference: str = ""
    verdict: str = ""


@asynccontextmanager
async def redis_server() -> AsyncIterator[tuple[Standalone, Connection]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = tempfile.mkdtemp(prefix="cache-bench-")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--save", "", "--dir", directory]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
    server = Standalone(Endpoint("127.0.0.1", port))
    try:
        yield server, await connect(server)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)


async def connect(server: Standalone) -> Connection:
    for _ in range(100):
        try:
            return await Connection.connect(server.endpoint, timeout_seconds=60)
        except Exception:  # noqa: BLE001  # it may still be starting
            await asyncio.sleep(0.05)
    raise SystemExit("redis-server did not start")


async def fill(client: Connection, keys: int) -> None:
    await client.call("FLUSHALL")
    value = "x" * VALUE_BYTES
    for start in range(0, keys, 1000):
        await client.pipeline(
            [
                ("SET", f"user:v1:{i:07d}", value, "PX", 3_600_000 + i)
                for i in range(start, min(start + 1000, keys))
            ]
        )


async def in_scan_order(client: Connection, pattern: str) -> list[bytes]:
    keys: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, page = await client.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        keys += page
        if cursor == b"0":
            return keys


def piped(server: Standalone, commands: Iterable[tuple[bytes, ...]]) -> float:
    """Seconds that `redis-cli --pipe` takes for `commands`."""
    with tempfile.TemporaryFile() as file:
        for command in commands:
            parts = [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
            file.write(b"*%d\r\n%b" % (len(command), b"".join(parts)))
        file.seek(0)
        began = time.perf_counter()
        subprocess.run(
            ["redis-cli", "-p", str(server.endpoint.port), "--pipe"],
            stdin=file,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Timing:
    seconds: float
    server_seconds: float


async def timed(client: Connection, operation: Copy | Retire | Hot) -> Timing:
    before, began = await cpu_seconds(client), time.perf_counter()
    await operation.run()
    seconds = time.perf_counter() - began
    return Timing(seconds, await cpu_seconds(client) - before)


def ratio_row(figure: str, keys: int, ours: list[Timing], theirs: list[float]) -> Row:
    seconds = statistics.median(timing.seconds for timing in ours)
    busy = statistics.median(timing.server_seconds / timing.seconds for timing in ours)
    mine, reference = keys / seconds, keys / statistics.median(theirs)
    return Row(
        figure,
        f"{mine:,.0f} keys/s",
        f"--pipe {reference:,.0f} keys/s",
        f"{mine / reference:.2f} of --pipe, {busy:.2f} of the server's own limit",
    )


async def unthrottled(
    server: Standalone, client: Connection, keys: int, rounds: int
) -> AsyncIterator[Row]:
    await fill(client, keys)
    sources = await in_scan_order(client, "user:v1:*")
    targets = [key.replace(b":v1:", b":v2:") for key in sources]
    piped_copies, piped_unlinks = list[float](), list[float]()
    own_copies, own_retirements = list[Timing](), list[Timing]()
    for _ in range(rounds):
        copies = [(b"COPY", s, t) for s, t in zip(sources, targets, strict=True)]
        piped_copies.append(await asyncio.to_thread(piped, server, copies))
        doomed = await in_scan_order(client, "user:v2:*")
        unlinks = [(b"UNLINK", key) for key in doomed]
        piped_unlinks.append(await asyncio.to_thread(piped, server, unlinks))
        copy = Copy(server, [USERS], source="v1", target="v2", limits=FULL)
        own_copies.append(await timed(client, copy))
        retire = Retire(server, [USERS], versions=["v2"], limits=FULL)
        own_retirements.append(await timed(client, retire))
    yield ratio_row("copy, unthrottled", keys, own_copies, piped_copies)
    yield ratio_row("retire half, unthrottled", keys, own_retirements, piped_unlinks)


async def polite(server: Standalone, client: Connection, keys: int) -> AsyncIterator[Row]:
    idle = await foreground(server, FOREGROUND_SECONDS)
    for name, operation in (
        ("copy, polite", Copy(server, [USERS], source="v1", target="v2", limits=POLITE)),
        ("retire, polite", Retire(server, [USERS], versions=["v2"], limits=POLITE)),
    ):
        task = asyncio.create_task(timed(client, operation))
        under_load = await foreground(server, FOREGROUND_SECONDS, until=task)
        timing = await task
        yield Row(
            name,
            f"{keys / timing.seconds:,.0f} keys/s",
            f"p99 {under_load[99]:.0f} µs, idle {idle[99]:.0f} µs",
            f"adds {under_load[99] - idle[99]:+.0f} µs to p99, {under_load[50] - idle[50]:+.0f} to p50",
        )


async def foreground(
    server: Standalone, seconds: float, until: "asyncio.Task[Timing] | None" = None
) -> dict[int, float]:
    """Percentiles (µs) of GETs at a steady rate, timed from when each was due."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", __file__, "--foreground", str(server.endpoint.port)],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if until is None:
        await asyncio.sleep(seconds)
    else:
        await asyncio.wait([until])
    output, _ = await process.communicate(b"\n")
    latencies = [int(line) for line in output.split()]
    cuts = statistics.quantiles(latencies, n=100)
    return {50: cuts[49] / 1000, 99: cuts[98] / 1000}


def run_foreground(port: int) -> None:
    """The foreground client's process: GETs until a line comes in, then nanoseconds by line."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    os.set_blocking(0, False)
    latencies: list[int] = []
    step = 1_000_000_000 // FOREGROUND_RATE
    due = time.perf_counter_ns()
    number = 0
    while len(latencies) % 500 or not os_has_input():
        due += step
        while (left := due - time.perf_counter_ns()) > 0:
            time.sleep(max(0, left - 60_000) / 1e9)
        number = (number + 7919) % 100_000
        connection.sendall(b"GET user:v1:%07d\r\n" % number)
        received = connection.recv(4096)
        while not received.endswith(b"\r\n"):
            received += connection.recv(4096)
        latencies.append(time.perf_counter_ns() - due)
    print("\n".join(map(str, latencies)))


def os_has_input() -> bool:
    try:
        return bool(os.read(0, 1))
    except BlockingIOError:
        return False


async def cpu_seconds(client: Connection) -> float:
    info = (await client.call("INFO", "cpu")).decode()
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    return float(fields["used_cpu_user_main_thread"]) + float(fields["used_cpu_sys_main_thread"])


async def hot(server: Standalone, client: Connection, keys: int) -> AsyncIterator[Row]:
    for policy in ("noeviction", "allkeys-lfu"):
        await client.call("CONFIG", "SET", "maxmemory-policy", policy)
        timing = await timed(client, Hot(server, [USERS], version="v1", limits=FULL))
        cost = timing.server_seconds / keys * 1e6
        yield Row(
            f"hot set, {policy}",
            f"{keys / timing.seconds:,.0f} keys/s",
            f"{cost:.2f} µs of server CPU a key",
            "goal ≤ 3 µs",
        )
    await client.call("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def mirror(server: Standalone, client: Connection) -> AsyncIterator[Row]:
    """Changes at a steady rate, alternately fills and deletions, under both versions."""
    subject = Mirror(server, [USERS], stable="v1", target="v2", serving=("v1", "v2"), limits=FULL)
    task = asyncio.create_task(subject.run())
    await client.call("FLUSHALL")
    await subject.coherent()
    rate, changes = 2_000, 10_000
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(0, changes, 2):
        key = f"user:v{number // 2 % 2 + 1}:{number}"
        await client.call("SET", key, "x" * VALUE_BYTES, "PX", 100_000)
        await client.call("DEL", key)
        await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
    state = subject.state
    task.cancel()
    await asyncio.wait([task])
    yield Row(
        "mirror, changes applied",
        f"{changes / (loop.time() - began):,.0f} changes/s",
        f"lag p50 {state.lag_p50_seconds * 1e3:.2f} ms, p99 {state.lag_p99_seconds * 1e3:.2f} ms",
        "goal p99 ≤ 5 ms",
    )


async def measure(keys: int, rounds: int) -> None:
    load = os.getloadavg()[0]
    print(f"{keys:,} keys of {VALUE_BYTES} B, median of {rounds}; load average {load:.1f}")
    async with redis_server() as (server, client):
        async for row in unthrottled(server, client, keys, rounds):
            show(row)
        async for row in polite(server, client, keys):
            show(row)
        async for row in hot(server, client, keys):
            show(row)
        async for row in mirror(server, client):
            show(row)
        await client.wait_closed()


def show(row: Row) -> None:
    print(f"{row.figure:<26}{row.measured:>20}   {row.reference:<42}{row.verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--foreground", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.foreground:
        run_foreground(arguments.foreground)
        return
    if Path(shutil.which("redis-cli") or "").name != "redis-cli":
        raise SystemExit("benchmarks need redis-server and redis-cli: apt-get install redis-server")
    asyncio.run(measure(arguments.keys, arguments.rounds))


if __name__ == "__main__":
    main()
