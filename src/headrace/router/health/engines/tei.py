"""text-embeddings-inference: what it serves from ``/info``, its queue from ``/metrics``. It has no ``/v1/models``."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.errors import ProtocolError
from headrace.router.health.engines.engine import Ask, ModelCard
from headrace.router.health.exposition import read
from headrace.router.worker import BARE_ENGINE_SLOTS, Load, ModelLoad

_WAITING = "te_queue_size"
_DONE = ("te_embed_success", "te_predict_success", "te_rerank_success", "te_request_success")
_MODALITIES = {"classifier": "classification", "reranker": "rerank"}


class Info(msgspec.Struct):
    model_id: str
    served_model_name: str | None = None
    model_type: dict[str, Any] | str = ""
    max_concurrent_requests: int = 0
    max_input_length: int = 0

    @property
    def modality(self) -> str:
        kind = next(iter(self.model_type), "") if isinstance(self.model_type, dict) else self.model_type
        return _MODALITIES.get(kind.lower(), "embedding")


class Tei:
    name = "tei"

    async def look(self, ask: Ask, cards: list[ModelCard]) -> Load:
        answer = await ask("/info")
        if answer.status != 200:
            raise ProtocolError(f"/info answers {answer.status}")
        info = msgspec.json.decode(answer.body, type=Info)
        answer = await ask("/metrics")
        told = read(answer.body, (_WAITING, *_DONE)) if answer.status == 200 else {}
        model = ModelLoad(info.served_model_name or info.model_id, info.max_input_length, modality=info.modality)
        return Load(
            waiting=int(told.get(_WAITING, 0)),
            max_running=info.max_concurrent_requests or BARE_ENGINE_SLOTS,
            iterations=int(sum(told.get(name, 0) for name in _DONE)),
            models=(model,),
        )
