"""The endpoints that reach a worker: who decodes them, where workers answer them, what a client sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headrace.api.dialects.messages import DIALECT as ANTHROPIC
from headrace.api.dialects.messages import CountTokensRequest, MessagesRequest
from headrace.api.dialects.responses import ResponsesRequest
from headrace.openai.anthropic import MessagesFields, PromptFields
from headrace.openai.chat import ChatFields, ChatRequest
from headrace.openai.classify import ClassifyFields, ClassifyRequest
from headrace.openai.completion import CompletionFields, CompletionRequest
from headrace.openai.embedding import EmbeddingFields, EmbeddingRequest
from headrace.openai.moderation import ModerationFields, ModerationRequest
from headrace.openai.request import Request
from headrace.openai.rerank import RerankFields, RerankRequest
from headrace.openai.responses import ResponsesFields
from headrace.openai.score import ScoreFields, ScoreRequest
from headrace.openai.tokens import DetokenizeFields, DetokenizeRequest, TokenizeFields, TokenizeRequest
from headrace.wire.dialect import OPENAI, Dialect


@dataclass(frozen=True, slots=True)
class Inference:
    """One endpoint; all are POST."""

    path: str
    kind: type[Request[Any]]
    body: type
    """What a client may send, for the OpenAPI document."""
    summary: str
    worker_path: str = ""
    """Where workers answer it; empty: at the same path."""
    dialect: Dialect = OPENAI
    streams: bool = False


_CHAT = "/v1/chat/completions"
_COUNT = "/v1/messages/count_tokens"

INFERENCE = (
    Inference(_CHAT, ChatRequest, ChatFields, "Answer a conversation", streams=True),
    Inference("/v1/completions", CompletionRequest, CompletionFields, "Complete a text", streams=True),
    Inference("/v1/responses", ResponsesRequest, ResponsesFields, "Answer, as a response", _CHAT, streams=True),
    Inference(
        "/v1/messages",
        MessagesRequest,
        MessagesFields,
        "Answer, as Anthropic's message",
        _CHAT,
        ANTHROPIC,
        streams=True,
    ),
    Inference(
        "/v1/messages/count_tokens",
        CountTokensRequest,
        PromptFields,
        "Count a message's tokens",
        "/tokenize",
        ANTHROPIC,
    ),
    Inference("/v1/embeddings", EmbeddingRequest, EmbeddingFields, "Embed texts"),
    Inference("/v1/rerank", RerankRequest, RerankFields, "Rank documents by a query"),
    Inference("/v1/score", ScoreRequest, ScoreFields, "Score pairs of texts"),
    Inference("/v1/classify", ClassifyRequest, ClassifyFields, "Classify texts", "/classify"),
    Inference("/v1/moderations", ModerationRequest, ModerationFields, "Find harmful texts", "/classify"),
    Inference("/tokenize", TokenizeRequest, TokenizeFields, "Tokens of a text or a conversation"),
    Inference("/detokenize", DetokenizeRequest, DetokenizeFields, "Text of tokens"),
)
