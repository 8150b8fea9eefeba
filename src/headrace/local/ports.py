"""Ports for the services of one machine."""

from __future__ import annotations

import contextlib
import errno
import socket

import psutil

from headrace.errors import ConfigError

_LOOPBACK = "127.0.0.1"
_ATTEMPTS = 50


class Ports:
    """Hands out TCP ports and claims them for the life of the stack.

    Between the look at a port and the service that listens on it lie seconds, and as many at each restart of the
    service. So that no other stack on this machine takes the port meanwhile, the *UDP* port of the same number is
    held: the kernel guards that, it is in nobody's way, and it is free again when this process ends in any way.
    """

    def __init__(self) -> None:
        self._claims: list[socket.socket] = []

    def public(self, host: str, port: int, *, service: str, setting: str) -> int:
        """The very port that people were promised; 0 takes a free one.

        Raises ConfigError, which says who has the port and how to choose another.
        """
        if port == 0:
            return self.internal(0)
        if _busy(host, port) or not self._claim(port):
            raise ConfigError(
                f"port {port}, where {service} is to listen, is taken{_owner(port)}.\n"
                f"Free it, or choose another one: headrace up --{setting.replace('_', '-')} {port + 1} "
                f"(or {setting}: {port + 1} under up: in the configuration file)."
            )
        return port

    def internal(self, default: int) -> int:
        """``default`` on loopback if nobody has it, else a free one."""
        if default and not _busy(_LOOPBACK, default) and self._claim(default):
            return default
        for _ in range(_ATTEMPTS):
            with socket.socket() as probe:
                probe.bind((_LOOPBACK, 0))
                port = int(probe.getsockname()[1])
            if self._claim(port):
                return port
        raise ConfigError("no free port on 127.0.0.1; end some programs that listen")

    def close(self) -> None:
        while self._claims:
            self._claims.pop().close()

    def _claim(self, port: int) -> bool:
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((_LOOPBACK, port))
        except OSError:
            claim.close()
            return False
        self._claims.append(claim)
        return True


def _busy(host: str, port: int) -> bool:
    """Whether a service that wants to listen there would fail, or hide another one's port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        with contextlib.suppress(OSError):
            probe.connect((_LOOPBACK, port))
            return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            if error.errno == errno.EACCES:
                raise ConfigError(f"port {port} needs root; choose one above 1023") from None
            raise ConfigError(f"cannot listen on {host}: {error.strerror}; check the setting up.host") from None
    return False


def _owner(port: int) -> str:
    """ " by NAME (pid N)" where the system tells; another user's processes stay unnamed."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""
