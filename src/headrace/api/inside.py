"""Small questions of llm-api's own to a model: how many tokens, which class."""

from __future__ import annotations

from headrace.api.fleet import Fleet
from headrace.errors import WireError
from headrace.service.secret import HopSecret
from headrace.wire import contract
from headrace.wire.client import fetch
from headrace.wire.response import Answer


class Inside:
    """Asks by way of a router, as for a client, but on behalf of a request that is being checked."""

    def __init__(self, fleet: Fleet, secret: HopSecret, timeout: float = 10.0) -> None:
        """``timeout``: seconds, the wait for a worker included."""
        self._fleet = fleet
        self._timeout = timeout
        self._headers = [
            (b"content-type", b"application/json"),
            (contract.DEADLINE, b"%d" % (timeout * 1000)),
            (contract.PRIORITY, b"0"),  # somebody's own request waits for it
        ]
        if secret.required:
            self._headers.append((contract.SECRET, secret.current))

    async def ask(self, pool: str, path: str, body: bytes, *, tenant: str, request_id: str) -> Answer | None:
        """The model's answer, whatever its status; None where no router brings one."""
        headers = [
            *self._headers,
            (contract.MODEL, pool.encode()),
            (contract.TENANT, tenant.encode()),
            (contract.REQUEST_ID, request_id.encode()),
        ]
        for router in self._fleet.order(pool, b""):
            try:
                return await fetch(router.origin, "POST", path, headers=headers, body=body, timeout=self._timeout)
            except WireError:
                continue
        return None
