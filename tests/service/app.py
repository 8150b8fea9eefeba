"""A service for tests, as a program: ``app.py one|many|child [FOLDER]``; see ``Program`` in conftest."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import ClassVar

from headrace.config import ServiceSettings, load
from headrace.errors import ConfigError
from headrace.service import run
from headrace.service.processes import Fleet
from headrace.service.secret import HopSecret
from headrace.service.sockets import listen
from headrace.telemetry.metrics import Registry
from headrace.wire.exchange import Exchange
from headrace.wire.limits import ServerLimits
from headrace.wire.routes import Routes

DRAIN_TIMEOUT = 15.0


class Settings(ServiceSettings):
    section: ClassVar[str] = "test"


class Counting:
    """Counts its requests. ``FOLDER/broken`` makes its settings wrong, ``FOLDER/go`` ends ``/slow`` and the start."""

    name = "test"

    def __init__(self, folder: Path) -> None:
        if (folder / "broken").exists():
            raise ConfigError("test.port: is wrong")
        self.registry = Registry()
        self.routes = Routes()
        self.routes.add("GET", "/pid", self._pid)
        self.routes.add("GET", "/slow", self._slow)
        self.limits = ServerLimits()
        self._folder = folder
        self._requests = self.registry.counter("test_requests_total", "Requests.").only
        self._busy = self.registry.gauge("test_busy", "Requests that run.").only

    async def start(self) -> None:
        while (self._folder / "hold").exists():
            await asyncio.sleep(0.01)

    def unready(self) -> str | None:
        return "not yet" if (self._folder / "unready").exists() else None

    def load(self) -> bytes | None:
        return b'{"running":0}'

    def debug(self, path: str) -> bytes | None:
        return b'{"pid":%d}' % os.getpid() if path == "pid" else None

    async def drain(self) -> None:
        (self._folder / "drained").touch()

    async def close(self) -> None:
        (self._folder / "closed").touch()

    async def _pid(self, exchange: Exchange) -> None:
        self._requests.inc()
        exchange.respond(200, [], b"%d" % os.getpid())

    async def _slow(self, exchange: Exchange) -> None:
        self._busy.inc()
        (self._folder / "busy").touch()
        while not (self._folder / "go").exists():
            await asyncio.sleep(0.01)
        self._busy.dec()
        exchange.respond(200, [], b"done")


def serve(mode: str, folder: Path) -> None:
    flags = {name: os.environ[f"TEST_{name.upper()}"] for name in ("port", "ops_port")}
    settings = load(Settings, flags={**flags, "host": "127.0.0.1", "drain_timeout": DRAIN_TIMEOUT}, env=False)
    if mode == "many":
        ops = listen(settings.host, settings.ops_port, "test ops")
        command = (sys.executable, __file__, "child", str(folder))
        Fleet(settings.host, settings.port, "test", 2, HopSecret(), settings.drain_timeout, command).run(ops, None)
    else:
        run(lambda: Counting(folder), settings, "test")


if __name__ == "__main__":
    try:
        serve(sys.argv[1], Path(sys.argv[2]))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
