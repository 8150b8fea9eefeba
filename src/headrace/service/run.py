"""``run``: from settings to a service that serves."""

from __future__ import annotations

import os
from collections.abc import Callable

from headrace.config import ServiceSettings
from headrace.service.child import child_of_fleet
from headrace.service.processes import Fleet
from headrace.service.runner import run_process
from headrace.service.secret import HopSecret
from headrace.service.service import Service
from headrace.service.sockets import listen
from headrace.telemetry import logs

PARENT_FD = "HEADRACE_PARENT_FD"
"""Names a descriptor whose end of file means that whoever started us is gone."""


def run(build: Callable[[], Service], settings: ServiceSettings, name: str) -> None:
    """Bind both ports and serve until told to stop. Raises ConfigError or ModelError before it serves."""
    logs.configure(settings.log_level, name)
    secret = HopSecret(settings.hop_secret, settings.hop_secret_previous)
    child = child_of_fleet()
    if child is not None:
        run_process(build, secret, settings.drain_timeout, child.traffic, child.ops, child.parent)
        return
    ops = listen(settings.ops_host or settings.host, settings.ops_port, f"{name} ops")
    processes: int = getattr(settings, "processes", 1)
    if processes > 1:
        Fleet(settings.host, settings.port, name, processes, secret, settings.drain_timeout).run(
            ops, parent_descriptor()
        )
        return
    traffic = listen(settings.host, settings.port, name)
    run_process(build, secret, settings.drain_timeout, traffic, ops, parent_descriptor())


def parent_descriptor() -> int | None:
    """Ends when whoever started us is gone, if they gave us such a descriptor."""
    value = os.environ.get(PARENT_FD, "")
    return int(value) if value.isdigit() else None
