"""The generator's own HTTP endpoint: what users saw, to be read while the load runs.

`/report?since=<unix seconds>` (JSON), `/metrics` (Prometheus text), `/livez`.
"""

import json
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from blingauto_load.generator import Generator
from blingauto_load.records import Outcome, Records


def build_server(
    records: Records, generator: Generator, wall: Callable[[], float]
) -> web.Application:
    """The application; it only reads."""

    async def report(request: web.Request) -> web.Response:
        try:
            since = float(request.query.get("since", "0"))
        except ValueError as error:
            raise web.HTTPBadRequest(
                text="since must be Unix seconds, such as 1700000000"
            ) from error
        body = {
            "phase": generator.phase,
            "running_since": generator.running_since,
            **records.report(since, wall()),
        }
        return web.Response(text=json.dumps(body), content_type="application/json")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=render_metrics(records.totals), content_type="text/plain")

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text=generator.phase)

    app = web.Application()
    app.add_routes(
        [web.get("/report", report), web.get("/metrics", metrics), web.get("/livez", livez)]
    )
    return app


def render_metrics(totals: Counter[tuple[Outcome, str]]) -> str:
    """One counter; `source` is `release/cache version`."""
    lines = [
        "# HELP load_requests_total Requests by what their users saw.",
        "# TYPE load_requests_total counter",
    ]
    for (outcome, source), count in sorted(totals.items()):
        escaped = source.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'load_requests_total{{outcome="{outcome}",source="{escaped}"}} {count}')
    return "\n".join(lines) + "\n"
