"""One request on its way through llm-api."""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct

from headrace.api.cost import Cost
from headrace.api.prefix import PromptText
from headrace.api.record import Record
from headrace.openai.request import GenerationRequest, Request
from headrace.store.snapshot import Principal
from headrace.wire.exchange import Exchange


class Job(Struct, eq=False):
    exchange: Exchange
    record: Record
    principal: Principal
    request: Request[Any]
    request_line: bytes
    text: PromptText
    cost: Cost
    sequences: int
    """That are generated; 0 where nothing is."""

    @property
    def output_cap(self) -> int | None:
        return self.request.output_cap if isinstance(self.request, GenerationRequest) else None

    @property
    def age(self) -> float:
        """Seconds since the request came."""
        return time.monotonic() - self.exchange.request.received
