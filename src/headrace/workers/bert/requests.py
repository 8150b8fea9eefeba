"""What the endpoints of bert-worker have in common: decoding, truncation, usage; and the small endpoints' shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from headrace.errors import InvalidRequest, NotFound
from headrace.openai.document import convert, decode
from headrace.openai.request import TokenId

R = TypeVar("R", bound=Struct)


class Options(Struct, kw_only=True, gc=False):
    """What every request may ask for besides its own fields. Without the first two, too long an input is refused."""

    truncate: bool | None = None
    """Ours: cut inputs to what the model reads."""
    truncate_prompt_tokens: Annotated[int, Meta(ge=-1)] | None = None
    """vLLM's: cut inputs to so many tokens, special ones included; -1: to what the model reads."""
    use_activation: bool | None = None
    """vLLM's; False: a classifier's logits instead of probabilities or scores."""

    def limit(self, context: int, special: int) -> int | None:
        """Most tokens of an input, of which ``special`` are the tokeniser's own; None: it is not to be cut.

        Raises InvalidRequest where no input fits.
        """
        wanted = self.truncate_prompt_tokens
        if wanted is None or wanted == -1:
            return context if self.truncate or wanted == -1 else None
        if not special < wanted <= context:
            raise InvalidRequest(
                f"truncate_prompt_tokens: must be -1, or from {special + 1} to {context}, which this model reads; "
                f"not {wanted}.",
                param="truncate_prompt_tokens",
            )
        return wanted


class Usage(Struct):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


class TokenizeBody(Struct):
    prompt: str
    model: str | None = None
    add_special_tokens: bool = True
    return_token_strs: bool = False


class TokenizeAnswer(Struct):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeBody(Struct):
    tokens: Annotated[list[TokenId], Meta(max_length=1_000_000)]
    model: str | None = None


class DetokenizeAnswer(Struct):
    prompt: str


class Model(Struct):
    id: str
    created: int
    """Seconds since 1970."""
    max_model_len: int
    """Tokens."""
    owned_by: str = "headrace"
    object: Literal["model"] = "model"


class ModelList(Struct):
    data: list[Model]
    object: Literal["list"] = "list"


def read(
    body: bytes, type_: type[R], served: str, choices: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[R, Options]:
    """Decode a request for the model ``served``. Raises InvalidRequest, naming the field, or NotFound."""
    document = decode(body)
    request, options = convert(document, type_, choices or {}), convert(document, Options, {})
    model = getattr(request, "model", None)
    if model is not None and model != served:
        raise NotFound(
            f"The model {model!r} is not served here; this worker serves {served!r}.",
            param="model",
            code="model_not_found",
        )
    return request, options


def usage(tokens: int) -> Usage:
    return Usage(tokens, tokens)


encode = msgspec.json.Encoder().encode
