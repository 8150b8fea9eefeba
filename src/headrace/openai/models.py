"""``GET /v1/models``: the answers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Status(Struct):
    """What Headrace adds to a model of OpenAI's list."""

    status: str
    wait_ms: int
    """Milliseconds that a request would wait now."""


class Architecture(Struct):
    """What goes in and comes out, in OpenRouter's shape: https://openrouter.ai/docs/api-reference/list-available-models."""

    input_modalities: list[str]
    """``text``, ``image``; empty where no worker told yet."""
    output_modalities: list[str]
    """``text``, ``embeddings``, ``rerank`` or ``classification``."""


class Model(Struct):
    """One model that the key may use."""

    id: str
    created: int
    """Seconds since 1970."""
    headrace: Status
    architecture: Architecture
    context_length: int | None = None
    """Tokens, prompt and output together."""
    modality: str = "text"
    parent: str | None = None
    """Of a LoRA adapter: its base model, as vLLM tells it."""
    owned_by: str = "headrace"
    object: Literal["model"] = "model"


class ModelList(Struct):
    data: list[Model]
    object: Literal["list"] = "list"
