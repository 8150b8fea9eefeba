"""``supervise``: from an engine and its settings to a worker that serves, and its exit code."""

from __future__ import annotations

import asyncio
import logging

from headrace.config import EngineSettings
from headrace.errors import EngineEnded
from headrace.service.run import parent_descriptor
from headrace.service.sockets import listen
from headrace.telemetry import logs
from headrace.workers.supervisor.ending import Exit, leave_note
from headrace.workers.supervisor.engine import Engine
from headrace.workers.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)


def supervise(engine: Engine, settings: EngineSettings) -> None:
    """Run the worker until it is told to stop. Raises ConfigError, or EngineEnded with the worker's exit code."""
    logs.configure(settings.log_level, engine.name)
    listen(settings.host, settings.port, engine.name).close()  # a taken port is better told now than by the engine
    ops = listen(settings.ops_host or settings.host, settings.ops_port, f"{engine.name} ops")

    async def main() -> None:
        ending = await Supervisor(engine, settings).run(ops, parent_descriptor())
        leave_note(ending)
        if ending.exit is not Exit.OK:
            log.error("gave up", extra={"reason": ending.reason, "exit_code": int(ending.exit)})
            raise EngineEnded(ending.reason, int(ending.exit))

    asyncio.run(main())  # not uvloop, which takes SIGCHLD for itself
