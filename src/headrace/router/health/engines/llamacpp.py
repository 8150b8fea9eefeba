"""llama.cpp's server: slots and context from ``/props``, its load from ``/metrics`` where ``--metrics`` is on."""

from __future__ import annotations

import msgspec

from headrace.router.health.engines.engine import Ask, ModelCard
from headrace.router.health.exposition import read
from headrace.router.worker import BARE_ENGINE_SLOTS, Load, ModelLoad

_RUNNING = "llamacpp:requests_processing"
_WAITING = "llamacpp:requests_deferred"
_STEPS = "llamacpp:n_decode_total"


class _Generation(msgspec.Struct):
    n_ctx: int = 0


class _Props(msgspec.Struct):
    total_slots: int = 0
    default_generation_settings: _Generation = msgspec.field(default_factory=_Generation)


class LlamaCpp:
    """More than ``total_slots`` requests would wait inside it, where nobody can choose another worker for them."""

    name = "llamacpp"

    async def look(self, ask: Ask, cards: list[ModelCard]) -> Load:
        answer = await ask("/props")
        props = msgspec.json.decode(answer.body, type=_Props) if answer.status == 200 else _Props()
        answer = await ask("/metrics")
        told = read(answer.body, (_RUNNING, _WAITING, _STEPS)) if answer.status == 200 else {}
        return Load(
            running=int(told.get(_RUNNING, 0)),
            waiting=int(told.get(_WAITING, 0)),
            max_running=props.total_slots or BARE_ENGINE_SLOTS,
            iterations=int(told.get(_STEPS, 0)),
            models=tuple(ModelLoad(card.id, props.default_generation_settings.n_ctx) for card in cards),
        )
