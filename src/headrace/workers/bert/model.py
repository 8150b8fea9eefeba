"""A loaded model: rows of text in, rows of numbers out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.errors import InvalidRequest
from headrace.workers.bert.engine import Call, Engine
from headrace.workers.bert.folder import ModelFolder, Task
from headrace.workers.bert.inputs import Inputs
from headrace.workers.bert.requests import Options
from headrace.workers.bert.tokens import Ids, Tokens

_ENDPOINTS: dict[Task, str] = {
    "embedding": "/v1/embeddings",
    "classification": "/classify",
    "rerank": "/v1/rerank, /v1/score or /classify",
}


@dataclass(frozen=True, slots=True)
class Model:
    folder: ModelFolder
    tokens: Tokens
    engine: Engine
    max_running: int
    dimensions: int
    """Numbers that come out for a row."""

    def demand(self, *tasks: Task) -> None:
        """Raises InvalidRequest unless the model is for one of these tasks."""
        if self.folder.task not in tasks:
            raise InvalidRequest(
                f"model: is for {self.folder.task}: use {_ENDPOINTS[self.folder.task]}, or another model.",
                param="model",
                code="wrong_modality",
            )

    async def compute(self, inputs: Inputs, options: Options) -> tuple[NDArray[np.float32], int]:
        """What the client asked for of all rows, vectors or what the labels' activation makes of logits; and tokens.

        Raises InvalidRequest for an input that is too long, Overloaded, DeadlineExceeded or InternalError.
        """
        pairs = bool(inputs.texts) and isinstance(inputs.texts[0], tuple)
        limit = options.limit(self.folder.context, self.tokens.special(pair=pairs) if inputs.texts else 0)
        with self.engine.call(len(inputs)) as call:
            tokens = await self._queue(call, inputs, limit)
            outputs = await self.engine.result(call)
        labels = self.folder.labels
        if labels is None or options.use_activation is False:
            return outputs, tokens
        return labels.activate(outputs), tokens

    async def _queue(self, call: Call, inputs: Inputs, limit: int | None) -> int:
        """Put the rows of a call into the queue; says how many tokens they are together."""
        tokens = 0
        async for index, row in self._rows(inputs, limit):
            inputs.check_length(index, len(row.ids), self.folder.context)
            self.engine.put(call, index, row.ids, row.second)
            tokens += len(row.ids)
        return tokens

    async def _rows(self, inputs: Inputs, limit: int | None) -> AsyncIterator[tuple[int, Ids]]:
        for index, ids in enumerate(inputs.ids):
            kept = ids[:limit]
            yield index, Ids(kept, len(kept))
        index = 0
        async for piece in self.tokens.encode_many(inputs.texts, limit=limit):
            for row in piece:
                yield index, row
                index += 1
