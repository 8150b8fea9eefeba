"""The secret that Headrace's own services show each other."""

from __future__ import annotations

import hmac


class HopSecret:
    """The current secret and the one before it, so that it can be rotated without a gap."""

    def __init__(self, current: str = "", previous: str = "") -> None:
        self.current = current.encode()
        self._accepted = [secret.encode() for secret in (current, previous) if secret]

    @property
    def required(self) -> bool:
        return bool(self._accepted)

    def accepts(self, given: bytes) -> bool:
        """True if ``given`` is one of the secrets, or if there is none. Takes the same time for every wrong one."""
        if not self._accepted:
            return True
        matches = [hmac.compare_digest(given, secret) for secret in self._accepted]
        return any(matches)
