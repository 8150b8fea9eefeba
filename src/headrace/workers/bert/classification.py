"""``POST /classify``, as vLLM has it; ``labels`` besides: the names of all classes, in the order of ``probs``."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from headrace.workers.bert.requests import Usage, encode, usage

_ENCODED_AT_ONCE = 256


class _Class(Struct):
    index: int
    label: str
    probs: list[float]
    num_classes: int
    labels: Raw


class _Answer(Struct):
    id: str
    created: int
    model: str
    data: list[_Class]
    usage: Usage
    object: Literal["list"] = "list"


async def answer(
    probabilities: NDArray[np.float32], labels: tuple[str, ...], name: str, model: str, tokens: int
) -> bytes:
    """``label`` is the likeliest one, also where several may apply."""
    names = Raw(encode(labels))
    best = probabilities.argmax(axis=1).tolist()
    data: list[_Class] = []
    for begin in range(0, len(probabilities), _ENCODED_AT_ONCE):
        if begin:
            await asyncio.sleep(0)
        for place, row in enumerate(probabilities[begin : begin + _ENCODED_AT_ONCE].tolist(), begin):
            data.append(_Class(place, labels[best[place]], row, len(labels), names))
    return encode(_Answer(f"classify-{name}", int(time.time()), model, data, usage(tokens)))
