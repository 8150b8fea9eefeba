"""Which engine is it?"""

from __future__ import annotations

import msgspec

from headrace.router.health.engines.engine import Ask, Engine, ModelCard, OpenAi, read_cards
from headrace.router.health.engines.llamacpp import LlamaCpp
from headrace.router.health.engines.tei import Info, Tei
from headrace.router.health.engines.trtllm import TensorRt
from headrace.router.health.engines.vllm import Vllm

_OWNERS: dict[str, type[Vllm] | type[TensorRt] | type[LlamaCpp]] = {
    "vllm": Vllm,
    "tensorrt_llm": TensorRt,
    "llamacpp": LlamaCpp,
}
"""``owned_by`` of the entries of ``/v1/models``."""


async def probe(ask: Ask) -> tuple[Engine | None, list[ModelCard], str]:
    """The engine, what ``/v1/models`` tells, and where there is none yet the reason. Raises WireError, MsgspecError."""
    answer = await ask("/v1/models")
    if answer.status == 200:
        cards = read_cards(answer)
        owner = cards[0].owned_by if cards else ""
        return _OWNERS.get(owner, OpenAi)(), cards, ""
    if answer.status == 404:
        info = await ask("/info")
        if info.status == 200:
            msgspec.json.decode(info.body, type=Info)
            return Tei(), [], ""
    return None, [], f"/v1/models answers {answer.status}"
