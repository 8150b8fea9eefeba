"""The backend for NVIDIA GPUs: torch, from the same parameters as the graph for CPUs."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headrace.errors import ConfigError, ModelError
from headrace.workers.bert.backend import Batch
from headrace.workers.bert.folder import ModelFolder
from headrace.workers.bert.network import Array, Layer, Linear, Norm, network
from headrace.workers.bert.safetensors import Weights
from headrace.workers.bert.sentence import Pooling


class CudaBackend:
    """The model on one GPU; bf16 where it computes that (``auto``), f32 elsewhere."""

    streams = 1
    packs = False

    def __init__(
        self, folder: ModelFolder, precision: Literal["auto", "f32", "bf16"] = "auto", *, device: str = "cuda"
    ) -> None:
        """Raises ModelError for an exported graph, ConfigError for bf16 on a device that has none."""
        if folder.encoder is None:
            raise ModelError(
                f"{folder.graph}: an exported graph is served on the CPU; a GPU needs a folder of safetensors of one "
                "of the families that bert-worker builds"
            )
        self.precision: str = choose_precision(device, precision)
        self._device = torch.device(device)
        self._dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        self._config = folder.encoder
        labels = None if folder.labels is None else len(folder.labels.names)
        self._network = _on(network(folder.encoder, Weights(folder.path), labels), self._device, self._dtype)
        self._sentence = folder.sentence
        self._pairs = folder.task == "rerank"
        self.outputs = folder.encoder.hidden_size if labels is None else labels

    def infer(self, batch: Batch) -> NDArray[np.float32]:
        with torch.inference_mode():
            outputs: NDArray[np.float32] = self._outputs(batch).float().cpu().numpy()
        return outputs

    def _outputs(self, batch: Batch) -> Tensor:
        ids, lengths, seconds = (self._send(part) for part in (batch.ids, batch.lengths, batch.seconds))
        places = torch.arange(ids.shape[1], device=self._device)
        present = places < lengths[:, None]
        x = self._hidden(ids, present, places >= seconds[:, None])
        head = self._network.head
        if head is None:
            vectors = _pool(x.float(), present, lengths, self._sentence.pooling)
            return functional.normalize(vectors, eps=1e-12) if self._sentence.normalize else vectors
        activate = {"tanh": torch.tanh, "relu": torch.relu, "gelu": functional.gelu}[head.activation]
        return _linear(activate(_linear(x[:, 0], head.dense)), head.out)

    def _send(self, part: NDArray[np.int32]) -> Tensor:
        """To the device, from pinned memory: a copy that the CPU does not wait for."""
        tensor = torch.from_numpy(part)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)

    def _hidden(self, ids: Tensor, present: Tensor, in_second: Tensor) -> Tensor:
        """rows × width × hidden"""
        parts = self._network
        x = functional.embedding(ids, parts.words) + parts.places[: ids.shape[1]]
        if self._pairs and parts.second is not None:
            x = x + in_second[:, :, None] * parts.second
        x = self._norm(x, parts.norm)
        mask = torch.zeros(present.shape, dtype=self._dtype, device=self._device)
        mask = mask.masked_fill(~present, torch.finfo(self._dtype).min / 2)[:, None, None, :]
        if parts.relative is not None:
            mask = mask + _relative(parts.relative, ids.shape[1])
        for layer in parts.layers:
            x = self._layer(x, mask, layer)
        return x

    def _layer(self, x: Tensor, mask: Tensor, layer: Layer) -> Tensor:
        heads = self._config.num_attention_heads
        q, k, v = (
            _linear(x, part).unflatten(2, (heads, -1)).transpose(1, 2) for part in (layer.query, layer.key, layer.value)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1 / math.sqrt(q.shape[-1]))
        x = self._norm(_linear(mixed.transpose(1, 2).flatten(2), layer.attended) + x, layer.attended_norm)
        return self._norm(_linear(self._activate(_linear(x, layer.inner)), layer.outer) + x, layer.outer_norm)

    def _activate(self, x: Tensor) -> Tensor:
        kind = self._config.hidden_act
        if kind == "relu":
            return torch.relu(x)
        return functional.gelu(x, approximate="none" if kind == "gelu" else "tanh")

    def _norm(self, x: Tensor, norm: Norm) -> Tensor:
        weight, bias = norm
        return functional.layer_norm(x, (x.shape[-1],), weight, bias, self._config.layer_norm_eps)


def choose_precision(device: str, wanted: Literal["auto", "f32", "bf16"]) -> Literal["f32", "bf16"]:
    """What to compute in. Raises ConfigError for bf16 on a GPU that has none."""
    has_bf16 = device == "cuda" and torch.cuda.is_bf16_supported()
    if wanted == "bf16" and not has_bf16:
        raise ConfigError("bert.precision: this GPU does not compute in bf16; use auto or f32")
    return "bf16" if has_bf16 and wanted != "f32" else "f32"


def available() -> bool:
    """Whether there is a GPU that torch can use."""
    return bool(torch.cuda.is_available())


def _on(parts: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The same tuples with tensors on the device in place of arrays."""
    if isinstance(parts, np.ndarray):
        return torch.from_numpy(np.array(parts)).to(device, dtype)
    if isinstance(parts, tuple):
        found = [_on(part, device, dtype) for part in parts]
        return type(parts)(*found) if hasattr(parts, "_fields") else tuple(found)
    return parts


def _linear(x: Tensor, linear: Linear) -> Tensor:
    weight, bias = linear
    return functional.linear(x, weight, bias)


def _relative(table: Array, width: int) -> Tensor:
    """1 × heads × width × width"""
    tensor = torch.as_tensor(table)
    places = torch.arange(width, device=tensor.device)
    offsets = places[None, :] - places[:, None] + tensor.shape[1] // 2
    return tensor[:, offsets].unsqueeze(0)


def _pool(x: Tensor, present: Tensor, lengths: Tensor, pooling: Pooling) -> Tensor:
    """One vector a row (rows × hidden)."""
    if pooling == "cls":
        return x[:, 0]
    if pooling == "last":
        return x[torch.arange(len(x), device=x.device), lengths.long() - 1]
    return x.masked_fill(~present[:, :, None], 0).sum(dim=1) / lengths[:, None]
