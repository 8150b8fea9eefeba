"""What the worker and its engine process tell each other.

MessagePack with a length in front, over a Unix socket pair. Arrays rather than maps: one of these crosses for every
step of the engine.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Finish = Literal["", "stop", "length", "cancelled", "failed"]
"""Empty while the generation goes on."""

Precision = Literal["f32", "bf16"]

HEADER_BYTES = 4
"""Big-endian length of what follows."""


class EngineSpec(msgspec.Struct, frozen=True):
    """What the engine process loads and how; ``path`` is a .gguf file or an OpenVINO folder."""

    path: str
    precision: Precision
    max_running: int
    kv_blocks: int


class Sampling(msgspec.Struct, array_like=True, frozen=True):
    """How tokens are drawn. ``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 take all tokens."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    min_tokens: int = 0
    ignore_eos: bool = False
    logprobs: bool = False


class Start(msgspec.Struct, array_like=True, frozen=True, tag=0):
    """Generate from ``prompt`` (token ids, at least one)."""

    id: int
    prompt: list[int]
    sampling: Sampling


class Cancel(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Stop a generation; its last ``Output`` says so. One that is over already is no error."""

    id: int


class Output(msgspec.Struct, array_like=True, frozen=True):
    """New tokens of one generation; ``logprobs`` is as long as ``tokens``, or empty."""

    id: int
    tokens: list[int]
    logprobs: list[float]
    finish: Finish


class Ready(msgspec.Struct, array_like=True, frozen=True, tag=0):
    """The model is loaded and has generated a first token."""

    seconds: float
    """What loading took."""


class Step(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """One iteration of the engine."""

    kv_used: int
    """Blocks that the running generations hold."""
    outputs: list[Output]


class Failed(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """The engine cannot go on; the process ends after this."""

    message: str


Command = Start | Cancel
Report = Ready | Step | Failed


def frame(message: Command | Report) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(HEADER_BYTES, "big") + body
