"""The endpoints of bert-worker's traffic port: a request's body in, an answer's body out."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from headrace.openai.classify import ClassifyFields
from headrace.wire.contract import REQUEST_ID
from headrace.wire.message import Request
from headrace.workers.bert import classification, embedding, ranking, requests
from headrace.workers.bert.embedding import EmbeddingBody
from headrace.workers.bert.inputs import Inputs, check_ids, prompts
from headrace.workers.bert.model import Model
from headrace.workers.bert.ranking import RerankBody, ScoreBody
from headrace.workers.bert.requests import DetokenizeBody, Options, TokenizeBody

_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

Answer = Callable[[Request], Awaitable[bytes]]


class Endpoints:
    """``model`` gives the loaded model, or raises Overloaded while there is none; ``name`` is the served name."""

    def __init__(self, model: Callable[[], Model], name: str) -> None:
        self._model = model
        self._name = name
        self._created = int(time.time())
        self.by_path: dict[str, tuple[str, Answer]] = {
            "/v1/embeddings": ("embeddings", self.embed),
            "/classify": ("classify", self.classify),
            "/v1/rerank": ("rerank", self.rerank),
            "/v1/score": ("score", self.score),
            "/tokenize": ("tokenize", self.tokenize),
            "/detokenize": ("detokenize", self.detokenize),
        }
        """What is posted to: the name in the metrics, and what answers."""

    def models(self) -> bytes:
        card = requests.Model(self._name, self._created, self._model().folder.context)
        return requests.encode(requests.ModelList([card]))

    async def embed(self, request: Request) -> bytes:
        model = self._model()
        body, options = requests.read(request.body, EmbeddingBody, self._name, embedding.CHOICES)
        model.demand("embedding")
        sentence = model.folder.sentence
        inputs = prompts(body.input, model.folder.vocabulary, embedding.prefix(sentence, body.prompt_name))
        embedding.check_dimensions(body.dimensions, model.dimensions, model.folder.matryoshka)
        vectors, tokens = await model.compute(inputs, options)
        vectors = embedding.shorten(vectors, body.dimensions, normalize=sentence.normalize)
        return await embedding.answer(vectors, body.encoding_format or "float", self._name, tokens)

    async def classify(self, request: Request) -> bytes:
        model = self._model()
        body, options = requests.read(request.body, ClassifyFields, self._name)
        model.demand("classification", "rerank")
        values, tokens = await model.compute(Inputs.of("input", body.input), options)
        assert model.folder.labels is not None
        return await classification.answer(values, model.folder.labels.names, _id(request), self._name, tokens)

    async def rerank(self, request: Request) -> bytes:
        body, options = requests.read(request.body, RerankBody, self._name)
        scores, tokens = await self._scores(body.inputs, options)
        return ranking.ranking(scores, body, _id(request), self._name, tokens)

    async def score(self, request: Request) -> bytes:
        body, options = requests.read(request.body, ScoreBody, self._name)
        scores, tokens = await self._scores(body.inputs, options)
        return ranking.scores(scores, _id(request), self._name, tokens)

    async def tokenize(self, request: Request) -> bytes:
        model = self._model()
        body, _ = requests.read(request.body, TokenizeBody, self._name)
        ids, tokens = await model.tokens.encode(body.prompt, special=body.add_special_tokens)
        strings = tokens if body.return_token_strs else None
        return requests.encode(requests.TokenizeAnswer(len(ids), model.folder.context, ids, strings))

    async def detokenize(self, request: Request) -> bytes:
        model = self._model()
        body, _ = requests.read(request.body, DetokenizeBody, self._name)
        if body.tokens:
            check_ids("tokens", body.tokens, model.folder.vocabulary)
        return requests.encode(requests.DetokenizeAnswer(await model.tokens.decode(body.tokens)))

    async def _scores(self, inputs: Callable[[], Inputs], options: Options) -> tuple[NDArray[np.float32], int]:
        """One score a row."""
        model = self._model()
        model.demand("rerank")
        scores, tokens = await model.compute(inputs(), options)
        return scores[:, 0], tokens


def _id(request: Request) -> str:
    """The request's id, as llm-api gave it; one of our own where nobody did."""
    given = request.headers.get(REQUEST_ID, b"")
    return given.decode() if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
