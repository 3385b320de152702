"""Runs the load: `python -m blingauto_load`. One JSON line a second on stdout, reports over HTTP.

The process stays after the load is done, so that its report can still be read; SIGTERM ends it.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from time import monotonic, time

import uvloop
from aiohttp import web

from blingauto_load.clients import Clients
from blingauto_load.generator import Generator
from blingauto_load.judge import Judge
from blingauto_load.records import Records
from blingauto_load.server import build_server
from blingauto_load.settings import LoadSettings, SettingsError, read_settings
from blingauto_load.traffic import Traffic

_LOGGER = logging.getLogger("blingauto_load")


async def run(settings: LoadSettings) -> None:
    """Load, report, and wait to be stopped."""
    traffic = Traffic(
        users=settings.users,
        services=settings.services,
        exponent=settings.zipf_exponent,
        write_percent=settings.write_percent,
        seed=settings.seed,
    )
    records = Records()
    clients = Clients(
        settings.target,
        Judge(settings.stale_after_seconds),
        count=settings.clients,
        connection_seconds=settings.connection_seconds,
        timeout_seconds=settings.timeout_seconds,
        clock=monotonic,
        wall=time,
    )
    generator = Generator(settings, traffic, clients, records, clock=monotonic, wall=time)
    runner = web.AppRunner(build_server(records, generator, time), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=settings.report_port).start()
    stopped = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stopped.set)
    tasks = [asyncio.create_task(generator.run()), asyncio.create_task(_write_lines(records))]
    stop = asyncio.create_task(stopped.wait())
    waiting = {stop, *tasks}
    while not stop.done():
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a fault of the generator's own ends it
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await clients.close()
    await runner.cleanup()


async def _write_lines(records: Records) -> None:
    """One line for each second that is over."""
    since = time()
    while True:
        await asyncio.sleep(1.0)
        for second in records.finished_seconds(since, time()):
            sys.stdout.write(json.dumps(records.line_of(second)) + "\n")
            since = second.at + 1
        sys.stdout.flush()


def main() -> int:
    """Run until stopped; 2 if the settings are wrong."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        _LOGGER.critical("cannot start: %s", error)
        return 2
    uvloop.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
