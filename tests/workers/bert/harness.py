"""A backend that can be held and broken, a model folder of a few kilobytes, and an HTTP client of a few lines."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from headrace.workers.bert.backend import Batch
from headrace.workers.bert.tokens import Ids

PATIENCE = 60.0

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 12,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "hidden_act": "gelu",
}


class FakeBackend:
    """Answers with (first id, length) of each row. While ``gate`` is cleared, batches wait."""

    precision = "f32"
    packs = False
    outputs = 2

    def __init__(self, streams: int = 1) -> None:
        self.streams = streams
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.batches: list[list[list[int]]] = []

    def infer(self, batch: Batch) -> NDArray[np.float32]:
        rows = zip(batch.ids, batch.lengths, strict=True)
        self.batches.append([row[:length].tolist() for row, length in rows])
        if not self.gate.wait(PATIENCE):
            raise TimeoutError("the test never opened the gate")
        if self.error is not None:
            raise self.error
        return np.stack([batch.ids[:, 0], batch.lengths], axis=1).astype(np.float32)


def as_batch(rows: Sequence[Ids], padding: int = 3) -> Batch:
    """The rows side by side, padded with tokens that must not matter."""
    ids = np.full((len(rows), 16 * math.ceil(max(len(row.ids) for row in rows) / 16)), padding, np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = row.ids
    lengths = np.array([len(row.ids) for row in rows], np.int32)
    return Batch(ids, lengths, np.array([row.second for row in rows], np.int32))


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], dtypes: Mapping[str, str] | None = None) -> None:
    """Write safetensors; ``dtypes`` names the format's dtype where numpy has none of its own."""
    names = {"float32": "F32", "float16": "F16", "int64": "I64"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        dtype = (dtypes or {}).get(name) or names[str(tensor.dtype)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(tensor.tobytes() for tensor in tensors.values()))


def random_weights(seed: int = 7, config: Mapping[str, Any] = CONFIG) -> dict[str, NDArray[np.float32]]:
    """Weights of a BERT of ``config``'s shape."""
    dice = np.random.default_rng(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        parts = {f"attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")}
        parts |= {"attention.output.dense": (hidden, hidden), "intermediate.dense": (inner, hidden)}
        parts["output.dense"] = (hidden, inner)
        for part, shape in parts.items():
            shapes[f"encoder.layer.{layer}.{part}.weight"] = shape
            shapes[f"encoder.layer.{layer}.{part}.bias"] = shape[:1]
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (hidden,)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (hidden,)
    return {name: dice.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def write_folder(path: Path, **changes: Any) -> Path:
    """A tiny model: its words are ``w0`` to ``w7``, its longest input has 16 tokens."""
    write_json(path / "config.json", {**CONFIG, **changes})
    words = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", *(f"w{number}" for number in range(8))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(path / "tokenizer.json"))
    write_tensors(path / "model.safetensors", random_weights())
    return path


class Reply:
    """An answer, whole."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json()["error"]


class Client:
    """Talks to the traffic port; each request has a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which the request is out; close it to go away."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return reader, writer

    async def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        reader, writer = await self.send(method, path, body, headers)
        try:
            async with asyncio.timeout(PATIENCE):
                head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status, *fields = head.decode().split("\r\n")
        return Reply(int(status.split()[1]), dict(field.lower().split(": ", 1) for field in fields), content)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.ask("GET", path, b"", headers)

    async def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.ask("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)
