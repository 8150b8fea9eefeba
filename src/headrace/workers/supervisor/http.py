"""Questions to an engine's own HTTP server."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from headrace.errors import ConfigError, ProtocolError, WireError
from headrace.wire.client import Origin, fetch
from headrace.wire.response import Answer
from headrace.workers.supervisor.engine import PATIENCE

_LOOPBACK = "127.0.0.1"

T = TypeVar("T")


class EngineHttp:
    """An engine's HTTP server: where it listens, and what it is asked."""

    def __init__(self, host: str, port: int, key: str, section: str) -> None:
        """``key`` is shown as the API key, if there is one; without one the engine serves its own machine only.

        Raises ConfigError where the port is left to chance: an engine cannot tell which one it took.
        """
        if port == 0:
            raise ConfigError(f"{section}.port: 0 is not possible for an engine that listens itself: choose a port")
        self.host = host if key else _LOOPBACK
        reachable = {"0.0.0.0": _LOOPBACK, "::": "[::1]", "": _LOOPBACK}.get(self.host, self.host)
        self.origin = Origin(f"http://{reachable}:{port}")
        self._headers = [(b"content-type", b"application/json")]
        if key:
            self._headers.append((b"authorization", b"Bearer " + key.encode()))

    async def ok(self, path: str) -> bool | None:
        """Whether ``path`` answers 200; None where there is no answer."""
        try:
            return (await fetch(self.origin, "GET", path, timeout=PATIENCE)).status == 200
        except WireError:
            return None

    async def get(self, path: str, timeout: float = PATIENCE) -> bytes:
        """Raises WireError where the answer is anything but 200."""
        return _body(await fetch(self.origin, "GET", path, headers=self._headers, timeout=timeout), path)

    async def post(self, path: str, body: bytes, timeout: float) -> bytes:
        """Raises WireError where the answer is anything but 200."""
        return _body(await fetch(self.origin, "POST", path, headers=self._headers, body=body, timeout=timeout), path)


def decode(body: bytes, kind: type[T], path: str) -> T:
    """Raises ProtocolError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{path} answers nonsense: {error}") from None


def _body(answer: Answer, path: str) -> bytes:
    if answer.status != 200:
        said = " ".join(answer.body.decode(errors="replace").split())[:300]
        raise ProtocolError(f"{path} answers {answer.status}: {said}")
    return answer.body
