"""Runs a platform of tiny services, as `headrace up` runs the real ones: HOME NAME[=DRAIN] ..."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from rich.console import Console

from headrace.local.guard import Guard
from headrace.local.platform import Platform
from headrace.local.runfile import RunFile
from headrace.local.screen import Screen
from headrace.local.stack import Stack
from tests.local.yard import QUICK, Yard


def main(home: Path, services: list[str]) -> int:
    run_file = RunFile(home)
    run_file.acquire(lambda: None)
    with contextlib.closing(Guard(keep_open=(run_file.lock,), grace=2.0)) as guard:
        yard = Yard(home, guard)
        tiers = []
        for service in services:
            name, _, drain = service.partition("=")
            broken = drain == "broken"
            program = yard.script(name, "print('oh no'); exit(3)") if broken else yard.service(name, drain=drain or "0")
            tiers.append((program,))
        stack = Stack(tuple(tiers), tiers[0][0].url, "", "", "", 0)
        screen = Screen(Console(width=200))
        platform = Platform(
            stack, home=home, screen=screen, run_file=run_file, guard=guard, drain_timeout=60.0, policy=QUICK
        )
        done = asyncio.run(platform.run(lambda: screen.say("all ready")))
    run_file.release()
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
