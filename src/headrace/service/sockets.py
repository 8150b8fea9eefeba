"""Listening sockets."""

from __future__ import annotations

import errno
import socket

from headrace.errors import ConfigError


def listen(host: str, port: int, purpose: str, *, shared: bool = False) -> socket.socket:
    """Bind ``port`` (0: a free one). ``shared`` lets several sockets have the same port, for several processes.

    Raises ConfigError that says which setting to change.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(_explain(host, port, purpose, error)) from None
    return listener


def _explain(host: str, port: int, purpose: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} ({purpose}) is taken by another program; stop it or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} ({purpose}) needs privileges; choose one above 1023"
    return f"cannot listen on {host}:{port} ({purpose}): {error.strerror}"
