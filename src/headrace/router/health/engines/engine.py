"""What the router wants to know of an engine without a supervisor of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from headrace.router.worker import BARE_ENGINE_SLOTS, Load, ModelLoad
from headrace.wire.response import Answer

Ask = Callable[[str], Awaitable[Answer]]
"""GET a path of the engine. Raises WireError."""


class ModelCard(msgspec.Struct):
    """An entry of ``/v1/models``."""

    id: str
    owned_by: str = ""
    max_model_len: int | None = None
    parent: str | None = None
    """Of a LoRA adapter: its base model (vLLM)."""


class _Models(msgspec.Struct):
    data: list[ModelCard]


class Engine(Protocol):
    """One kind of engine."""

    name: str

    async def look(self, ask: Ask, cards: list[ModelCard]) -> Load:
        """How it does; ``cards`` is what ``/v1/models`` told. What it does not tell is left out. Raises WireError."""


def read_cards(answer: Answer) -> list[ModelCard]:
    """Raises MsgspecError for anything that is no list of models."""
    return msgspec.json.decode(answer.body, type=_Models).data


def models_of(cards: list[ModelCard]) -> tuple[ModelLoad, ...]:
    """Base models with their adapters."""
    adapters: dict[str, list[str]] = {}
    for card in cards:
        if card.parent:
            adapters.setdefault(card.parent, []).append(card.id)
    return tuple(
        ModelLoad(card.id, card.max_model_len or 0, tuple(sorted(adapters.get(card.id, ()))))
        for card in cards
        if not card.parent
    )


class OpenAi:
    """Anything else that serves ``/v1/models``: it is there or not, and that is all."""

    name = "openai"

    async def look(self, ask: Ask, cards: list[ModelCard]) -> Load:
        return Load(models=models_of(cards), max_running=BARE_ENGINE_SLOTS)
