"""The running platform: children under supervision, signals, the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from headrace import __version__
from headrace.local.child import Child, Policy, Program, State
from headrace.local.guard import Guard
from headrace.local.logs import LogFile
from headrace.local.runfile import Run, RunFile, RunningChild
from headrace.local.screen import Screen
from headrace.local.stack import Stack
from headrace.local.supervisor import Supervisor

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE = 5.0
"""Seconds that a child gets beyond its own drain timeout to write its last lines."""


class Platform:
    """Runs a stack until it is told to stop or a part of it cannot be started.

    The first signal drains, the second kills.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        home: Path,
        screen: Screen,
        run_file: RunFile,
        guard: Guard,
        drain_timeout: float,
        policy: Policy | None = None,
    ) -> None:
        self._stack = stack
        self._screen = screen
        self._run_file = run_file
        self._reported: dict[str, State] = {}

        def child(program: Program) -> Child:
            log = LogFile(home / "logs" / f"{program.name}.log")
            return Child(program, log=log, guard=guard, changed=self._changed, policy=policy)

        tiers = [[child(program) for program in tier] for tier in stack.tiers]
        self._supervisor = Supervisor(tiers, drain_timeout=drain_timeout + _GRACE)

    async def run(self, ready: Callable[[], None]) -> bool:
        """Calls ``ready`` once all children are. False if the platform ended because a child was given up."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        supervisor = self._supervisor
        self._screen.follow(supervisor.children)
        try:
            with self._screen:
                self._write()
                supervisor.start()
                ticking = asyncio.create_task(self._tick())
                if await supervisor.ready():
                    ready()
                    await supervisor.over()
                for child in supervisor.failed:
                    self._screen.failure(child)
                self._screen.say("Stopping: requests that run are finished. Ctrl-C again ends them now.")
                for child in await supervisor.stop():
                    self._screen.say(f"{child.program.name} did not end in time and was killed", style="yellow")
                ticking.cancel()
        finally:
            supervisor.kill()
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
        return not supervisor.failed

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._screen.tick()

    def _signalled(self) -> None:
        if self._supervisor.ask_stop():
            self._supervisor.kill()

    def _changed(self, child: Child) -> None:
        self._supervisor.changed()
        self._screen.changed(child)
        before = self._reported.get(child.program.name)
        self._reported[child.program.name] = child.state
        # The second and third failed start would only tell the same again.
        if child.state is State.WAITING and (child.restarts == 0 or before in (State.READY, State.UNREADY)):
            self._screen.failure(child)
        self._write()

    def _write(self) -> None:
        children = self._supervisor.children
        run = Run(
            pid=os.getpid(),
            version=__version__,
            api=self._stack.api,
            web=self._stack.web,
            ready=all(child.state is State.READY for child in children),
            children={child.program.name: _describe(child) for child in children},
        )
        with contextlib.suppress(OSError):  # a full disk must not end what runs
            self._run_file.write(run)


def _describe(child: Child) -> RunningChild:
    return RunningChild(
        state=child.state.value,
        pid=child.pid,
        url=child.program.url,
        ops=f"http://127.0.0.1:{child.program.ops_port}",
        log=str(child.log.path),
        restarts=child.restarts,
    )
