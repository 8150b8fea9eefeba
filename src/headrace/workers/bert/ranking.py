"""``POST /v1/rerank`` and ``POST /v1/score``, as Cohere, Jina and vLLM have them."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from headrace.errors import InvalidRequest
from headrace.openai.rerank import RerankFields
from headrace.openai.score import ScoreFields
from headrace.workers.bert.inputs import Inputs
from headrace.workers.bert.requests import Usage, encode, usage


class RerankBody(RerankFields, kw_only=True, gc=False):
    def inputs(self) -> Inputs:
        return Inputs("documents", [(self.query, text) for text in self.texts], single=False)

    @property
    def texts(self) -> list[str]:
        return [document if isinstance(document, str) else document.text for document in self.documents]


class ScoreBody(ScoreFields, kw_only=True, gc=False):
    def inputs(self) -> Inputs:
        """Raises InvalidRequest unless ``text_1`` is one text or as many as ``text_2``."""
        firsts = [self.text_1] if isinstance(self.text_1, str) else self.text_1
        seconds = [self.text_2] if isinstance(self.text_2, str) else self.text_2
        if len(firsts) not in {1, len(seconds)}:
            raise InvalidRequest(
                f"text_1: must be one text, or as many as text_2, which has {len(seconds)}, not {len(firsts)}.",
                param="text_1",
            )
        firsts = firsts * len(seconds) if len(firsts) == 1 else firsts
        return Inputs("text_2", list(zip(firsts, seconds, strict=True)), single=isinstance(self.text_2, str))


class _Document(Struct):
    text: str


class _Ranked(Struct):
    index: int
    document: _Document
    relevance_score: float


class _Ranking(Struct):
    id: str
    model: str
    results: list[_Ranked]
    usage: Usage


class _Score(Struct):
    index: int
    score: float
    object: Literal["score"] = "score"


class _Scores(Struct):
    id: str
    created: int
    model: str
    data: list[_Score]
    usage: Usage
    object: Literal["list"] = "list"


def ranking(scores: NDArray[np.float32], body: RerankBody, name: str, model: str, tokens: int) -> bytes:
    """The documents, best first; those with equal scores in the order that they came."""
    texts = body.texts
    order = np.argsort(-scores, kind="stable")[: body.top_n].tolist()
    results = [_Ranked(index, _Document(texts[index]), float(scores[index])) for index in order]
    return encode(_Ranking(f"rerank-{name}", model, results, usage(tokens)))


def scores(values: NDArray[np.float32], name: str, model: str, tokens: int) -> bytes:
    data = [_Score(index, value) for index, value in enumerate(values.tolist())]
    return encode(_Scores(f"score-{name}", int(time.time()), model, data, usage(tokens)))
