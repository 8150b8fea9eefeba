"""An encoder as an OpenVINO graph, built from the weights alone.

Tokens are packed: all that concerns a token alone, which is nine tenths of the work, is computed of the tokens one
after another, whatever row they are of; only attention sees rows, padded to the longest (measured: 4 to 8 % faster).

Queries, keys and values stay three multiplications, and attention is written out: so the CPU plugin recognises the
pattern and fuses it best (measured: 2 to 3 % faster than its ScaledDotProductAttention, 4 % faster than one joint
multiplication).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as op

from headrace.workers.bert.backend import Batch
from headrace.workers.bert.encoder import EncoderConfig
from headrace.workers.bert.network import Head, Layer, Linear, Network, Norm
from headrace.workers.bert.queue import padded
from headrace.workers.bert.sentence import Pooling

Node = Any
"""openvino's nodes; its Python package carries no types."""

_MASKED = float(np.finfo(np.float32).min) / 2
"""Added to a score: far below every other, and still finite in bf16."""


class Inputs:
    """Of a padded graph, as ``Batch`` has them: ``ids`` (rows × width), ``lengths`` and ``seconds`` (rows); int32."""

    def __init__(self) -> None:
        self.ids = op.parameter([-1, -1], np.int32, name="ids")
        self.lengths = op.parameter([-1], np.int32, name="lengths")
        self.seconds = op.parameter([-1], np.int32, name="seconds")
        self.rows = Rows(self.ids, self.lengths)

    def in_second(self) -> Node:
        """rows × width: whether a token is of the second text"""
        return op.greater_equal(op.unsqueeze(self.rows.positions, int64(0)), op.unsqueeze(self.seconds, int64(1)))

    def model(self, outputs: Node) -> ov.Model:
        return ov.Model([op.result(outputs)], [self.ids, self.lengths, self.seconds], "encoder")


class PackedInputs:
    """The inputs of a packed graph, all int32; see ``Packed``."""

    def __init__(self) -> None:
        self.ids = op.parameter([-1], np.int32, name="ids")
        self.positions = op.parameter([-1], np.int32, name="positions")
        self.in_second = op.parameter([-1], np.int32, name="in_second")
        self.spread = op.parameter([-1, -1], np.int32, name="spread")
        self.back = op.parameter([-1], np.int32, name="back")
        self.lengths = op.parameter([-1], np.int32, name="lengths")
        self.rows = Rows(self.spread, self.lengths)

    def model(self, outputs: Node) -> ov.Model:
        given = [self.ids, self.positions, self.in_second, self.spread, self.back, self.lengths]
        return ov.Model([op.result(outputs)], given, "encoder")


class Rows:
    """Which places of rows × width hold a token."""

    def __init__(self, places: Node, lengths: Node) -> None:
        """``places`` is of the shape rows × width."""
        width = op.gather(op.shape_of(places), int64(1), int64(0))
        self.lengths = lengths
        self.positions = op.range(np.int32(0), op.convert(width, "i32"), np.int32(1), output_type="i32")
        self.present = op.less(op.unsqueeze(self.positions, int64(0)), op.unsqueeze(lengths, int64(1)))
        """rows × width: whether a token is one of the row's"""


class Packed(NamedTuple):
    """A batch's tokens one after another, and where they are in its rows: the arguments of a packed graph, in order."""

    ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    """Of each token in its row."""
    in_second: NDArray[np.int32]
    """1 for a token of a second text."""
    spread: NDArray[np.int32]
    """rows × width: the token that is there; any, where there is none."""
    back: NDArray[np.int32]
    """Of each token: where it is in the rows laid end to end."""
    lengths: NDArray[np.int32]


def pack(batch: Batch) -> Packed:
    """The tokens are padded to a multiple of 8 with repetitions of the first, so that fewer sizes occur."""
    rows, width = batch.ids.shape
    present = np.arange(width, dtype=np.int32) < batch.lengths[:, None]
    places = np.flatnonzero(present).astype(np.int32)
    back = np.resize(places, padded(len(places)))
    back[len(places) :] = 0
    positions = back % width
    spread = np.zeros((rows, width), np.int32)
    spread[present] = np.arange(len(places))
    in_second = (positions >= batch.seconds[back // width]).astype(np.int32)
    return Packed(batch.ids.ravel()[back], positions, in_second, spread, back, batch.lengths)


def build(config: EncoderConfig, network: Network, *, pooling: Pooling, normalize: bool, pairs: bool) -> ov.Model:
    """The graph, from ``PackedInputs`` to rows × outputs in f32: logits where the network has a head, else vectors.

    With ``pairs`` a row may have a second text.
    """
    inputs = PackedInputs()
    builder = _Builder(config, network, inputs)
    if network.head is not None:
        return inputs.model(builder.classify(builder.first(pairs), network.head))
    x = builder.first(pairs) if pooling == "cls" else op.gather(builder.tokens(pairs), inputs.spread, int64(0))
    return inputs.model(pool(x, inputs.rows, pooling, normalize))


class _Builder:
    def __init__(self, config: EncoderConfig, network: Network, inputs: PackedInputs) -> None:
        self._config = config
        self._network = network
        self._inputs = inputs
        self._mask = op.select(op.unsqueeze(inputs.rows.present, ints(1, 2)), np.float32(0), np.float32(_MASKED))
        if network.relative is not None:
            self._mask = op.add(self._mask, self._relative(network.relative))

    def tokens(self, pairs: bool) -> Node:
        """tokens × hidden"""
        return self._through(self._network.layers, pairs)

    def first(self, pairs: bool) -> Node:
        """rows × 1 × hidden: each row's first token; no other is computed by the last layer."""
        *layers, last = self._network.layers
        x = self._through(layers, pairs)
        first = op.gather(x, op.gather(self._inputs.spread, ints(0), int64(1)), int64(0))
        mask = self._mask if self._network.relative is None else op.gather(self._mask, ints(0), int64(2))
        return self._mix(first, self._attention(_linear(first, last.query), x, mask, last), last)

    def classify(self, x: Node, head: Head) -> Node:
        activations = {"tanh": op.tanh, "relu": op.relu, "gelu": lambda node: op.gelu(node, "erf")}
        x = op.squeeze(x, int64(1))
        return _linear(activations[head.activation](_linear(x, head.dense)), head.out)

    def _through(self, layers: Iterable[Layer], pairs: bool) -> Node:
        x = self._embeddings(pairs)
        for layer in layers:
            mixed = self._attention(self._spread(_linear(x, layer.query)), x, self._mask, layer)
            packed = op.gather(
                op.reshape(mixed, ints(-1, self._config.hidden_size), False), self._inputs.back, int64(0)
            )
            x = self._mix(x, packed, layer)
        return x

    def _embeddings(self, pairs: bool) -> Node:
        network, inputs = self._network, self._inputs
        words = op.gather(op.constant(network.words), inputs.ids, int64(0))
        x = op.add(words, op.gather(op.constant(network.places), inputs.positions, int64(0)))
        if pairs and network.second is not None:
            there = op.convert(op.unsqueeze(inputs.in_second, int64(1)), "f32")
            x = op.add(x, op.multiply(there, op.constant(network.second)))
        return self._norm(x, network.norm)

    def _relative(self, relative: NDArray[np.float32]) -> Node:
        """1 × heads × width × width"""
        positions = self._inputs.rows.positions
        offsets = op.subtract(op.unsqueeze(positions, int64(0)), op.unsqueeze(positions, int64(1)))
        places = op.add(offsets, np.int32(relative.shape[1] // 2))
        return op.unsqueeze(op.gather(op.constant(relative), places, int64(1)), int64(0))

    def _spread(self, x: Node) -> Node:
        """From tokens × hidden to rows × width × hidden"""
        return op.gather(x, self._inputs.spread, int64(0))

    def _attention(self, queries: Node, x: Node, mask: Node, layer: Layer) -> Node:
        """What ``queries`` (rows × some × hidden) find among the tokens of their rows; of the same shape."""
        heads = self._config.num_attention_heads
        size = self._config.hidden_size // heads
        q, k, v = (
            op.transpose(op.reshape(part, ints(0, 0, heads, size), True), ints(0, 2, 1, 3))
            for part in (queries, self._spread(_linear(x, layer.key)), self._spread(_linear(x, layer.value)))
        )
        scores = op.multiply(op.matmul(q, k, False, True), np.float32(size**-0.5))
        mixed = op.matmul(op.softmax(op.add(scores, mask), -1), v, False, False)
        return op.reshape(op.transpose(mixed, ints(0, 2, 1, 3)), ints(0, 0, heads * size), True)

    def _mix(self, x: Node, mixed: Node, layer: Layer) -> Node:
        """The rest of a layer, of what ``x`` found by attention."""
        x = self._norm(op.add(_linear(mixed, layer.attended), x), layer.attended_norm)
        inner = self._activate(_linear(x, layer.inner))
        return self._norm(op.add(_linear(inner, layer.outer), x), layer.outer_norm)

    def _activate(self, x: Node) -> Node:
        kind = self._config.hidden_act
        if kind == "relu":
            return op.relu(x)
        return op.gelu(x, "erf" if kind == "gelu" else "tanh")

    def _norm(self, x: Node, norm: Norm) -> Node:
        x = op.mvn(x, ints(-1), True, self._config.layer_norm_eps, "inside_sqrt")
        return op.add(op.multiply(x, op.constant(norm.weight)), op.constant(norm.bias))


def pool(x: Node, rows: Rows, pooling: Pooling, normalize: bool) -> Node:
    """One vector a row (rows × hidden), as sentence-transformers' ``Pooling`` and ``Normalize`` do."""
    vectors = _pooled(x, rows, pooling)
    return op.normalize_l2(vectors, ints(1), 1e-12, "max") if normalize else vectors


def _pooled(x: Node, rows: Rows, pooling: Pooling) -> Node:
    if pooling == "cls":
        return op.gather(x, int64(0), int64(1))
    if pooling == "last":
        return op.gather(x, op.subtract(rows.lengths, np.int32(1)), int64(1), batch_dims=1)
    present = op.unsqueeze(rows.present, int64(2))
    # Chosen, not multiplied: what an exported graph computes for padding may be no number.
    total = op.reduce_sum(op.select(present, x, np.float32(0)), ints(1), False)
    return op.divide(total, op.convert(op.unsqueeze(rows.lengths, int64(1)), "f32"))


def _linear(x: Node, linear: Linear) -> Node:
    return op.add(op.matmul(x, op.constant(linear.weight), False, True), op.constant(linear.bias))


def int64(value: int) -> Node:
    return op.constant(np.int64(value))


def ints(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))
