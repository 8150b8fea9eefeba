"""Runs an engine that is a program of its own: start it, watch it, serve its ops port, drain it.

The engine listens on the traffic port itself, so no request passes through here. Nothing of the engine is imported:
it lives in an environment of its own and is started by absolute path.
"""

from headrace.workers.supervisor.engine import Engine, Look
from headrace.workers.supervisor.run import supervise

__all__ = ["Engine", "Look", "supervise"]
