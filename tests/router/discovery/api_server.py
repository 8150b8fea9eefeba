"""A stand-in for the Kubernetes API server: list and watch of EndpointSlices, as documented. Not Kubernetes."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes import Behaviour, Call, FakeServer, answer, chunk, head


def endpoint_slice(
    name: str, *addresses: str, ports: dict[str, int] | None = None, **conditions: bool
) -> dict[str, Any]:
    """A slice as the API shows it."""
    told = {"http": 8020, "ops": 9120} if ports is None else ports
    return {
        "metadata": {"name": name, "namespace": "llm", "resourceVersion": "1", "uid": "u"},
        "addressType": "IPv6" if addresses and ":" in addresses[0] else "IPv4",
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True, **conditions}, "nodeName": "n"}
            for address in addresses
        ],
        "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in told.items()],
    }


class ApiServer(FakeServer):
    """Holds slices; each change is told to those who watch."""

    def __init__(self) -> None:
        super().__init__()
        self.slices: dict[str, dict[str, Any]] = {}
        self.version = 10
        self.page = 500
        self.status = 200
        self._watches: list[asyncio.Queue[dict[str, Any] | None]] = []

    @property
    def watches(self) -> int:
        return len(self._watches)

    @property
    def queries(self) -> list[dict[str, str]]:
        return [{key: values[0] for key, values in parse_qs(urlsplit(call.path).query).items()} for call in self.calls]

    def change(self, kind: str, changed: dict[str, Any]) -> None:
        """ADDED, MODIFIED or DELETED."""
        self.version += 1
        name = changed["metadata"]["name"]
        if kind == "DELETED":
            self.slices.pop(name, None)
        else:
            self.slices[name] = changed
        self.tell({"type": kind, "object": changed})

    def tell(self, event: dict[str, Any] | None) -> None:
        """An event for all who watch; None ends their watches."""
        for queue in self._watches:
            queue.put_nowait(event)

    def behave(self, call: Call) -> Behaviour:
        url = urlsplit(call.path)
        query = parse_qs(url.query)
        if self.status != 200 or url.path != "/apis/discovery.k8s.io/v1/namespaces/llm/endpointslices":
            return answer(self.status if self.status != 200 else 404, b'{"kind":"Status"}')
        if query["labelSelector"] != ["kubernetes.io/service-name=vllm-worker-service"]:
            return answer(200, json.dumps({"metadata": {"resourceVersion": "1"}, "items": []}).encode())
        return self._watch if "watch" in query else self._list(int(query.get("continue", ["0"])[0]))

    def _list(self, start: int) -> Behaviour:
        items = [self.slices[name] for name in sorted(self.slices)]
        metadata = {"resourceVersion": str(self.version)}
        if start + self.page < len(items):
            metadata["continue"] = str(start + self.page)
        return answer(200, json.dumps({"metadata": metadata, "items": items[start : start + self.page]}).encode())

    async def _watch(self, call: Call) -> None:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._watches.append(queue)
        try:
            await call.send(head(200, ("content-type", "application/json"), ("transfer-encoding", "chunked")))
            while (event := await queue.get()) is not None:
                data = json.dumps(event).encode() + b"\n"
                await call.send(chunk(data[:7]))  # events do not keep to chunks
                await call.send(chunk(data[7:]))
            await call.send(chunk(b""))
        finally:
            self._watches.remove(queue)
