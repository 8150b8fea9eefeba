"""The secret that Headrace's own services show each other."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from headrace.errors import Unauthorized
from headrace.wire import contract
from headrace.wire.message import Request


class HopSecret:
    """The current secret and the one before it, so that it can be rotated without a gap.

    Without a secret only this machine is served: a forgotten setting must not open a service to a network.
    """

    def __init__(self, current: str = "", previous: str = "") -> None:
        self.current = current.encode()
        self._accepted = [secret.encode() for secret in (current, previous) if secret]

    @property
    def required(self) -> bool:
        return bool(self._accepted)

    def demand(self, request: Request) -> None:
        """Raises Unauthorized unless the sender knows a secret, or there is none and it is on this machine."""
        if self._accepted:
            if not self.accepts(_shown(request.headers)):
                raise Unauthorized("This port is for Headrace's own services: the hop secret is missing or wrong.")
        elif not is_local(request.peer):
            raise Unauthorized("This service has no hop_secret, so it serves its own machine only: set one.")

    def accepts(self, given: bytes) -> bool:
        """True if ``given`` is one of the secrets. Takes the same time for every wrong one."""
        matches = [hmac.compare_digest(given, secret) for secret in self._accepted]
        return any(matches)


def is_local(peer: str) -> bool:
    """Whether an address is of this machine; a Unix socket has none."""
    return not peer or peer.startswith("127.") or peer in ("::1", "::ffff:127.0.0.1")


def _shown(headers: Mapping[bytes, bytes]) -> bytes:
    """From our own header, or as the API key that engines know."""
    secret = headers.get(contract.SECRET)
    if secret is not None:
        return secret
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""
