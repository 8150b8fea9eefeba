"""How a service runs: its ports, its processes, signals and drain."""

from headrace.service.run import run
from headrace.service.service import Service

__all__ = ["Service", "run"]
