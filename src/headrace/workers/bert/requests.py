"""What bert-worker takes and answers: OpenAI's embeddings, vLLM's tokenize and detokenize."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct
from numpy.typing import NDArray

from headrace.errors import InvalidRequest, NotFound
from headrace.openai.document import convert, decode, kind
from headrace.openai.embedding import EmbeddingFields, EncodingFormat
from headrace.openai.request import TokenId

MAX_INPUTS = 2048
"""Inputs of one request; OpenAI's bound."""
_ENCODED_AT_ONCE = 64
"""Vectors that are turned to text before the event loop gets its turn again: about 1 ms."""

_encoder = msgspec.json.Encoder()
_CHOICES: Mapping[str, tuple[str, ...]] = {"encoding_format": get_args(EncodingFormat)}

R = TypeVar("R", bound=Struct)


class EmbeddingBody(EmbeddingFields, kw_only=True, gc=False):
    truncate: bool | None = None
    """Ours: cut inputs that are too long for the model instead of refusing them."""


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


class _Embedding(Struct):
    index: int
    embedding: Raw
    object: Literal["embedding"] = "embedding"


class _Usage(Struct):
    prompt_tokens: int
    total_tokens: int


class _EmbeddingAnswer(Struct):
    data: list[_Embedding]
    model: str
    usage: _Usage
    object: Literal["list"] = "list"


class Inputs:
    """The inputs of an embedding request: either ``texts`` or ``ids``; ``name`` tells one as the client wrote it."""

    __slots__ = ("_single", "ids", "texts")

    def __init__(self, value: str | list[Any], vocabulary: int) -> None:
        """Raises InvalidRequest, naming the input at fault."""
        self.texts: list[str] = []
        self.ids: list[list[int]] = []
        self._single = isinstance(value, str)
        if isinstance(value, str):
            self.texts = [value]
            return
        if not value:
            raise InvalidRequest("input: must not be empty.", param="input")
        self._single = isinstance(value[0], int)
        for index, item in enumerate(value):
            if type(item) is not type(value[0]):
                raise InvalidRequest(
                    f"input[{index}]: must be {kind(value[0])} as input[0] is, not {kind(item)}.",
                    param=f"input[{index}]",
                )
        if self._single:
            self.ids = [value]
        elif isinstance(value[0], str):
            self.texts = value
        else:
            self.ids = value
        if len(self) > MAX_INPUTS:
            raise InvalidRequest(f"input: must have at most {MAX_INPUTS} items, not {len(self)}.", param="input")
        for index, ids in enumerate(self.ids):
            check_ids(self.name(index), ids, vocabulary)

    def __len__(self) -> int:
        return len(self.texts) or len(self.ids)

    def name(self, index: int) -> str:
        return "input" if self._single else f"input[{index}]"

    def check_length(self, index: int, tokens: int, context: int) -> None:
        """Raises InvalidRequest with the counts where an input is longer than the model reads."""
        if tokens > context:
            name = self.name(index)
            raise InvalidRequest(
                f"{name}: has {tokens} tokens and this model reads at most {context}: shorten it or set truncate.",
                param=name,
                code="context_length_exceeded",
            )


def check_ids(name: str, ids: list[int], vocabulary: int) -> None:
    """Raises InvalidRequest unless there are ids and the model knows all of them."""
    if not ids:
        raise InvalidRequest(f"{name}: must have at least one token.", param=name)
    if not 0 <= min(ids) <= max(ids) < vocabulary:
        raise InvalidRequest(f"{name}: token ids must be between 0 and {vocabulary - 1}.", param=name)


def read(body: bytes, type_: type[R], served: str) -> R:
    """Decode a request for the model ``served``. Raises InvalidRequest, naming the field, or NotFound."""
    request = convert(decode(body), type_, _CHOICES)
    model = getattr(request, "model", None)
    if model is not None and model != served:
        raise NotFound(
            f"The model {model!r} is not served here; this worker serves {served!r}.",
            param="model",
            code="model_not_found",
        )
    return request


def shorten(vectors: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
    """The first ``dimensions`` of each vector, at length 1 again (Matryoshka, arXiv:2205.13147)."""
    available = vectors.shape[1]
    if dimensions is None or dimensions == available:
        return vectors
    short = vectors[:, :dimensions]
    norms: NDArray[np.float32] = np.linalg.norm(short, axis=1, keepdims=True).astype(np.float32)
    return np.divide(short, np.maximum(norms, np.float32(1e-12)))


def check_dimensions(dimensions: int | None, available: int) -> None:
    if dimensions is not None and dimensions > available:
        raise InvalidRequest(
            f"dimensions: must be at most {available}, which is what the model has, not {dimensions}.",
            param="dimensions",
        )


async def answer(vectors: NDArray[np.float32], form: EncodingFormat, model: str, tokens: int) -> bytes:
    """OpenAI's answer, encoded in slices so that a large one holds up nobody."""
    data: list[_Embedding] = []
    for begin in range(0, len(vectors), _ENCODED_AT_ONCE):
        if begin:
            await asyncio.sleep(0)
        part = vectors[begin : begin + _ENCODED_AT_ONCE]
        texts = _base64(part) if form == "base64" else _floats(part)
        data.extend(_Embedding(begin + place, Raw(text)) for place, text in enumerate(texts))
    return _encoder.encode(_EmbeddingAnswer(data, model, _Usage(tokens, tokens)))


def _floats(vectors: NDArray[np.float32]) -> list[bytes]:
    return [_encoder.encode(vector) for vector in vectors.tolist()]


def _base64(vectors: NDArray[np.float32]) -> list[bytes]:
    """As OpenAI: the little-endian float32 bytes."""
    rows = vectors.astype("<f4", copy=False)
    return [b'"%b"' % binascii.b2a_base64(row.tobytes(), newline=False) for row in rows]
