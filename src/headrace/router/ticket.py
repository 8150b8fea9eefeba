"""What the router knows of a request: the headers that llm-api sent with it."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.errors import InvalidRequest
from headrace.wire import contract

Matches = list[tuple[int, float]]
"""Who has how much of a prompt: sets of workers as bits, and the share of the prompt, the largest first."""

DEFAULT_DEADLINE_MS = b"600000"
DEFAULT_COST = b"256,256"
DEFAULT_PRIORITY = 5
LOWEST_PRIORITY = 9


class Ticket:
    """A request's place in the queue and its weight. Missing headers have defaults: older senders do not know all."""

    __slots__ = (
        "_headers",
        "adapter",
        "arrived",
        "deadline",
        "dispatched",
        "held",
        "held_back",
        "inputs",
        "keys",
        "matches",
        "output_tokens",
        "pool",
        "prefix",
        "priority",
        "prompt_tokens",
        "request_id",
        "tenant",
        "uncached",
        "work",
    )

    def __init__(self, headers: Mapping[bytes, bytes], now: float) -> None:
        """Raises InvalidRequest where the pool is missing or a number is not one."""
        self._headers = headers
        self.arrived = now
        try:
            self.pool = headers[contract.MODEL].decode()
            prompt, _, output = headers.get(contract.COST, DEFAULT_COST).partition(b",")
            self.prompt_tokens = int(prompt)
            self.output_tokens = int(output)
            self.work = self.prompt_tokens + self.output_tokens
            """Estimated tokens, prompt and output."""
            self.deadline = now + int(headers.get(contract.DEADLINE, DEFAULT_DEADLINE_MS)) / 1000
            """``time.monotonic()`` by which the first byte must be there."""
            self.prefix = headers.get(contract.PREFIX_BLOCKS, b"")
            self.request_id = headers.get(contract.REQUEST_ID, b"")
            self.tenant = headers.get(contract.TENANT, b"")
            self.adapter = headers.get(contract.ADAPTER, b"")
            priority = headers.get(contract.PRIORITY)
            self.priority = DEFAULT_PRIORITY if priority is None else _priority(priority)
            """0 to 9, 0 first; the middle where it was not said."""
            self.uncached: float = self.prompt_tokens
            """Prompt tokens that its worker has still to compute, as placement believes."""
            self.held = 0.0
            """Uncached and output tokens that its worker counts as its tenant's."""
            self.held_back = False
            """It was next, but its tenant had its share."""
            self.dispatched = now
            """When it last went to a worker."""
            self.keys: list[bytes] | None = None
            self.matches: Matches | None = None
            self.inputs: tuple[float, ...] | None = None
            """What placement looked up for it: scratch of ``scheduling``."""
        except KeyError:
            raise InvalidRequest(
                f"The header {contract.MODEL.decode()} is missing; send requests to llm-api."
            ) from None
        except ValueError:
            raise InvalidRequest("A header of the contract between llm-api and router is malformed.") from None

    @property
    def session(self) -> bytes:
        return self._headers.get(contract.SESSION, b"")


def _priority(value: bytes) -> int:
    return min(int(value), LOWEST_PRIORITY) if value.isdigit() else DEFAULT_PRIORITY
