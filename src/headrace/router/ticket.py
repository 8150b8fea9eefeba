"""What the router knows of a request: the headers that llm-api sent with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.errors import InvalidRequest
from headrace.wire import contract

DEFAULT_DEADLINE_MS = 600_000
DEFAULT_COST = (256, 256)
LOWEST_PRIORITY = 9


@dataclass(slots=True)
class Ticket:
    """A request's place in the queue and its weight. Missing headers have defaults: older senders do not know all."""

    pool: str
    adapter: str
    tenant: str
    session: str
    priority: int
    deadline: float
    """``time.monotonic()`` by which the first byte must be there."""
    prompt_tokens: int
    output_tokens: int
    prefix: bytes
    request_id: bytes
    arrived: float

    @property
    def work(self) -> int:
        """Estimated tokens, prompt and output."""
        return self.prompt_tokens + self.output_tokens


def read_ticket(headers: Mapping[bytes, bytes], now: float) -> Ticket:
    """Raises InvalidRequest where the pool is missing or a number is not one."""
    get = headers.get
    pool = get(contract.MODEL)
    if not pool:
        raise InvalidRequest(f"The header {contract.MODEL.decode()} is missing; send requests to llm-api.")
    try:
        prompt, output = _cost(get(contract.COST))
        priority = int(get(contract.PRIORITY, b"5"))
        deadline_ms = int(get(contract.DEADLINE, b"%d" % DEFAULT_DEADLINE_MS))
        return Ticket(
            pool.decode(),
            get(contract.ADAPTER, b"").decode(),
            get(contract.TENANT, b"").decode(),
            get(contract.SESSION, b"").decode(),
            min(max(priority, 0), LOWEST_PRIORITY),
            now + deadline_ms / 1000,
            prompt,
            output,
            get(contract.PREFIX_BLOCKS, b""),
            get(contract.REQUEST_ID, b""),
            now,
        )
    except ValueError:
        raise InvalidRequest("A header of the contract between llm-api and router is malformed.") from None


def _cost(value: bytes | None) -> tuple[int, int]:
    if value is None:
        return DEFAULT_COST
    prompt, _, output = value.partition(b",")
    return max(0, int(prompt)), max(0, int(output))
