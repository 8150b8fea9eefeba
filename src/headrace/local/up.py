"""`headrace up`: check the machine, start the platform, watch over it, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from headrace.config import ApiSettings, UpSettings, home, load
from headrace.local import welcome
from headrace.local.guard import Guard
from headrace.local.keys import first_key
from headrace.local.memory import available_mib
from headrace.local.platform import Platform
from headrace.local.ports import Ports
from headrace.local.runfile import RunFile
from headrace.local.screen import Screen
from headrace.local.sign_in import SignIn, mint
from headrace.local.stack import Stack, StackBuilder
from headrace.local.workers import Machine, choose, offer
from headrace.models import open_store


def run(settings: UpSettings, config: Path | None = None) -> int:
    """Run the platform until a signal; the exit code.

    ``config``: the YAML file, for the sections of the children. Raises ConfigError and ModelError before anything
    was started.
    """
    began = time.monotonic()
    directory = home().absolute()
    console = Console()
    screen = Screen(console)
    machine = Machine.look()
    if hint := offer(settings.workers, machine):
        screen.say(f"headrace up: {hint}")
    store = open_store(settings.models or directory / "models")
    run_file = RunFile(directory)
    with contextlib.ExitStack() as held:
        run_file.acquire(lambda: screen.say("Waiting for the children of an earlier run to end..."))
        held.callback(run_file.release)
        ports = held.enter_context(contextlib.closing(Ports()))
        api = load(ApiSettings, file=config)
        builder = StackBuilder(
            settings,
            home=directory,
            config=config,
            environ=os.environ,
            ports=ports,
            trusted_proxies=api.trusted_proxies,
        )
        stack = builder.build(choose(settings.workers, store, machine, console))
        _warn(stack, screen)
        key = first_key(api, directory, os.environ.get("HEADRACE_BOOTSTRAP_KEY", ""))
        screen.say(welcome.key_line(key, welcome.another_key(sys.argv[0], directory)))
        guard = held.enter_context(contextlib.closing(Guard(keep_open=(run_file.lock,))))
        platform = Platform(
            stack,
            home=directory,
            screen=screen,
            run_file=run_file,
            guard=guard,
            drain_timeout=settings.drain_timeout,
        )

        sign_in = SignIn(lambda: mint(api, directory))

        def ready() -> None:
            link = sign_in.link(stack.web) if stack.web else ""
            screen.say(welcome.ready(stack, key, link, time.monotonic() - began, directory / "logs"))
            if link and settings.open and has_desktop(os.environ, sys.stdout.isatty()):
                webbrowser.open(link)

        async def serve() -> bool:
            if not stack.web:
                return await platform.run(ready)
            async with sign_in.serving(stack.sign_in_port):
                return await platform.run(ready)

        return 0 if asyncio.run(serve()) else 1


def has_desktop(environ: Mapping[str, str], terminal: bool) -> bool:
    """Whether a browser would open where the person sits; elsewhere it might open in the terminal, or far away."""
    if not terminal or "SSH_CONNECTION" in environ or "CI" in environ:
        return False
    return sys.platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _warn(stack: Stack, screen: Screen) -> None:
    if stack.without_web:
        screen.say(f"headrace up: {stack.without_web}", style="yellow")
    available = available_mib()
    if available < stack.memory_mib:
        screen.say(
            f"headrace up: memory is short: {available} MiB are available and about {stack.memory_mib} MiB are needed; "
            "close other programs if a worker is killed or the machine becomes slow",
            style="yellow",
        )
