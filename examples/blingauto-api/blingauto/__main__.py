"""Runs one process: `python -m blingauto`. SIGTERM drains it.

Draining: `/readyz` turns 503 and answers carry `Connection: close` while requests are still served for
`DRAIN_SECONDS`, so that endpoints and clients can follow; then requests in flight are finished and the
process ends with code 0. A second signal ends it at once.
"""

import asyncio
import logging
import os
import signal
import sys
from types import FrameType

import prometheus_client
import uvicorn

from blingauto.app import Application, build_application
from blingauto.lifecycle import Lifecycle
from blingauto.settings import Settings, SettingsError, read_settings

_LOGGER = logging.getLogger("blingauto")
_GRACE_SECONDS = 10  # for requests in flight, once no new ones are accepted


class DrainingServer(uvicorn.Server):
    """uvicorn, with a pause between "no longer ready" and "no longer listening"."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_seconds: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; called by uvicorn's signal handler."""
        if self._lifecycle.is_draining:
            self.force_exit = True
            self._stop_listening()
            return
        self._lifecycle.is_draining = True
        _LOGGER.info("draining signal=%s seconds=%s", signal.Signals(sig).name, self._drain_seconds)
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self._drain_seconds, self._stop_listening)

    def _stop_listening(self) -> None:
        # Not uvicorn's own handler: that one would end the process by the signal, not with code 0.
        self.should_exit = True


def build_server(application: Application, settings: Settings) -> DrainingServer:
    """The server for one process."""
    config = uvicorn.Config(
        application.asgi,
        host="0.0.0.0",  # noqa: S104 - a pod's own network
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return DrainingServer(config, application.lifecycle, settings.drain_seconds)


def main() -> int:
    """Serve until told to stop; 2 if the settings are wrong."""
    logging.basicConfig(
        level=os.environ.get("LOG_LEVEL", "INFO").upper(),
        stream=sys.stdout,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        settings = read_settings(os.environ)
        application = build_application(settings)
    except (SettingsError, ValueError) as error:
        _LOGGER.critical("cannot start: %s", error)
        return 2
    build_server(application, settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
