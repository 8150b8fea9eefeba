"""Tiny real programs to supervise."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from headrace.local.child import Child, Policy, Program
from headrace.local.guard import Guard
from headrace.local.logs import LogFile

QUICK = Policy(first_delay=0.02, longest_delay=0.1, starting_poll=0.02, steady_poll=0.05)

SERVICE = """
import http.server, os, signal, sys, time

port, journal, name, drain = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]

def note(text):
    with open(journal, "a") as file:
        file.write(f"{name} {text}\\n")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        reason = os.path.exists(journal + ".unready") and open(journal + ".unready").read()
        self.send_response(503 if reason else 200)
        body = (reason or "ok").encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

def end(number, _):
    note("drains")
    if drain == "stuck":
        return
    time.sleep(float(drain))
    note("ends")
    os._exit(0)

signal.signal(signal.SIGTERM, end)
note("starts")
print(f"{name} speaks", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait generously for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """The same for tests without an event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


class Yard:
    """Makes programs and children in one folder, with one journal of what they did."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        self.folder = folder
        self.guard = guard
        self.journal = folder / "journal"
        self.changes: list[tuple[str, str]] = []
        self.listener: Callable[[], None] = lambda: None

    def service(self, name: str, *, drain: str = "0") -> Program:
        """A program that becomes ready and drains for ``drain`` seconds, or never ("stuck")."""
        port = free_port()
        command = (sys.executable, "-c", SERVICE, str(port), str(self.journal), name, drain)
        return Program(name, command, dict(os.environ), port, f"http://127.0.0.1:{port}")

    def script(self, name: str, source: str) -> Program:
        """A program that is never ready."""
        return Program(name, (sys.executable, "-c", textwrap.dedent(source)), dict(os.environ), free_port())

    def child(self, program: Program, policy: Policy = QUICK) -> Child:
        def changed(child: Child) -> None:
            self.changes.append((child.program.name, child.state.value))
            self.listener()

        log = LogFile(self.folder / "logs" / f"{program.name}.log")
        return Child(program, log=log, guard=self.guard, changed=changed, policy=policy)

    def events(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []
