"""``POST /v1/embeddings``, as OpenAI has it."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from headrace.errors import InvalidRequest
from headrace.openai.embedding import EmbeddingFields, EncodingFormat
from headrace.workers.bert.requests import Usage, encode, usage
from headrace.workers.bert.sentence import Sentence

_ENCODED_AT_ONCE = 64
"""Vectors that are turned to text before the event loop gets its turn again: about 1 ms."""

CHOICES: Mapping[str, tuple[str, ...]] = {"encoding_format": get_args(EncodingFormat)}


class EmbeddingBody(EmbeddingFields, kw_only=True, gc=False):
    prompt_name: str | None = None
    """text-embeddings-inference's: which of the model's prompts goes before each text."""


class _Embedding(Struct):
    index: int
    embedding: Raw
    object: Literal["embedding"] = "embedding"


class _Answer(Struct):
    data: list[_Embedding]
    model: str
    usage: Usage
    object: Literal["list"] = "list"


def prefix(sentence: Sentence, name: str | None) -> str:
    """The prompt of this name, or the model's default. Raises InvalidRequest where it has none of the name."""
    try:
        return sentence.prompt(name)
    except KeyError:
        known = ", ".join(sentence.prompts)
        told = f"must be one of {known}" if known else "this model has no prompts; leave it out"
        raise InvalidRequest(f"prompt_name: {told}.", param="prompt_name") from None


def check_dimensions(dimensions: int | None, available: int, matryoshka: Sequence[int]) -> None:
    """Raises InvalidRequest where vectors cannot be cut to so many."""
    if dimensions is None or dimensions == available:
        return
    if matryoshka and dimensions not in matryoshka:
        told = f"must be one of {', '.join(map(str, sorted({*matryoshka, available})))}, which this model was made for"
    elif dimensions > available:
        told = f"must be at most {available}, which is what the model has"
    else:
        return
    raise InvalidRequest(f"dimensions: {told}, not {dimensions}.", param="dimensions")


def shorten(vectors: NDArray[np.float32], dimensions: int | None, *, normalize: bool) -> NDArray[np.float32]:
    """The first ``dimensions`` of each vector (Matryoshka, arXiv:2205.13147), at length 1 again if they were."""
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    short = vectors[:, :dimensions]
    if not normalize:
        return short
    norms: NDArray[np.float32] = np.linalg.norm(short, axis=1, keepdims=True).astype(np.float32)
    return np.divide(short, np.maximum(norms, np.float32(1e-12)))


async def answer(vectors: NDArray[np.float32], form: EncodingFormat, model: str, tokens: int) -> bytes:
    """OpenAI's answer, encoded in slices so that a large one holds up nobody."""
    data: list[_Embedding] = []
    for begin in range(0, len(vectors), _ENCODED_AT_ONCE):
        if begin:
            await asyncio.sleep(0)
        part = vectors[begin : begin + _ENCODED_AT_ONCE]
        texts = _base64(part) if form == "base64" else _floats(part)
        data.extend(_Embedding(begin + place, Raw(text)) for place, text in enumerate(texts))
    return encode(_Answer(data, model, usage(tokens)))


def _floats(vectors: NDArray[np.float32]) -> list[bytes]:
    return [encode(vector) for vector in vectors.tolist()]


def _base64(vectors: NDArray[np.float32]) -> list[bytes]:
    """As OpenAI: the little-endian float32 bytes."""
    rows = vectors.astype("<f4", copy=False)
    return [b'"%b"' % binascii.b2a_base64(row.tobytes(), newline=False) for row in rows]
