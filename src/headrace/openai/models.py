"""``GET /v1/models``: the answers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Status(Struct):
    """What Headrace adds to a model of OpenAI's list."""

    status: str
    wait_ms: int
    """Milliseconds that a request would wait now."""


class Model(Struct):
    """One model that the key may use."""

    id: str
    created: int
    """Seconds since 1970."""
    headrace: Status
    context_length: int | None = None
    """Tokens, prompt and output together."""
    modality: str = "text"
    owned_by: str = "headrace"
    object: Literal["model"] = "model"


class ModelList(Struct):
    data: list[Model]
    object: Literal["list"] = "list"
