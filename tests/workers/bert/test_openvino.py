"""The graph against an independent computation of the same network, and against sentence-transformers."""

from __future__ import annotations

import base64
import json
import math
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headrace.errors import ConfigError, ModelError
from headrace.workers.bert import folder
from headrace.workers.bert.graph import pack
from headrace.workers.bert.openvino import OpenVinoBackend, choose_precision
from headrace.workers.bert.tokens import Ids
from tests.workers.bert.harness import CONFIG, as_batch, random_weights, write_json, write_tensors

SAMPLES = Path(__file__).parents[2] / "samples" / "minilm_reference.json"
Array = NDArray[np.float64]


class Reference:
    """BERT in float64, as the paper has it."""

    def __init__(self, **changes: Any) -> None:
        self.config = {**CONFIG, **changes}
        self.weights = {name: weight.astype(np.float64) for name, weight in random_weights().items()}

    def hidden(self, ids: list[int]) -> Array:
        weights = self.weights
        x = weights["embeddings.word_embeddings.weight"][ids]
        x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
        x = self.norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(self.config["num_hidden_layers"]):
            name = f"encoder.layer.{layer}."
            x = self.norm(x + self.attention(x, name), f"{name}attention.output.LayerNorm")
            inner = self.activate(self.linear(x, f"{name}intermediate.dense"))
            x = self.norm(x + self.linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")
        return x

    def attention(self, x: Array, name: str) -> Array:
        heads = self.config["num_attention_heads"]
        q, k, v = (
            self.linear(x, f"{name}attention.self.{part}").reshape(len(x), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ v
        return self.linear(mixed.swapaxes(0, 1).reshape(len(x), -1), f"{name}attention.output.dense")

    def activate(self, x: Array) -> Array:
        if self.config["hidden_act"] == "relu":
            return np.maximum(x, 0)
        if self.config["hidden_act"] == "gelu":
            return np.asarray(x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2)
        return np.asarray(x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2)

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(centred.var(axis=-1, keepdims=True) + 1e-12)
        return np.asarray(scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])


def infer(backend: OpenVinoBackend, rows: list[list[int]]) -> NDArray[np.float32]:
    return backend.infer(as_batch([Ids(row, len(row)) for row in rows]))


ROWS = [[1, 5, 9, 2], [1, 2], [1, *range(4, 12), 4, 5, 6, 7, 8, 9, 2]]


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
def test_the_graph_computes_bert(tiny: Path, activation: str) -> None:
    write_json(tiny / "config.json", {**CONFIG, "hidden_act": activation})
    vectors = infer(OpenVinoBackend(folder.read(tiny), "f32"), ROWS)
    reference = Reference(hidden_act=activation)
    expected = np.stack([reference.hidden(row).mean(axis=0) for row in ROWS])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


def test_packed_tokens_are_found_again_in_their_rows() -> None:
    batch = as_batch([Ids([1, 5, 9, 2], 2), Ids([1, 2], 2), Ids([1, 6, 7, 8, 2], 5)], padding=3)
    packed = pack(batch)
    assert packed.ids.tolist() == [1, 5, 9, 2, 1, 2, 1, 6, 7, 8, 2, *[1] * 5]
    assert packed.positions.tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 4, *[0] * 5]
    assert packed.in_second.tolist() == [0, 0, 1, 1, *[0] * 12]
    np.testing.assert_array_equal(batch.ids.ravel()[packed.back], packed.ids)
    for row, length in enumerate(batch.lengths):
        np.testing.assert_array_equal(packed.ids[packed.spread[row, :length]], batch.ids[row, :length])


@pytest.mark.parametrize(("pooling", "place"), [("cls", 0), ("lasttoken", -1)])
def test_one_token_may_stand_for_the_text(tiny: Path, pooling: str, place: int) -> None:
    write_json(tiny / "modules.json", [{"type": "m.Transformer"}, {"type": "m.Pooling", "path": "1_Pooling"}])
    write_json(tiny / "1_Pooling" / "config.json", {"pooling_mode": pooling})
    vectors = infer(OpenVinoBackend(folder.read(tiny), "f32"), ROWS)
    reference = Reference()
    np.testing.assert_allclose(vectors, [reference.hidden(row)[place] for row in ROWS], atol=1e-4)


def test_weights_of_a_model_with_a_head_are_found_under_their_prefix(tiny: Path) -> None:
    plain = infer(OpenVinoBackend(folder.read(tiny), "f32"), ROWS)
    weights = {f"bert.{name}": weight for name, weight in random_weights().items()}
    write_tensors(tiny / "model.safetensors", {**weights, "classifier.bias": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(infer(OpenVinoBackend(folder.read(tiny), "f32"), ROWS), plain)


def test_a_missing_weight_is_named(tiny: Path) -> None:
    weights = random_weights()
    del weights["encoder.layer.1.output.dense.bias"]
    write_tensors(tiny / "model.safetensors", weights)
    with pytest.raises(ModelError, match=r"lack encoder.layer.1.output.dense.bias"):
        OpenVinoBackend(folder.read(tiny), "f32")


def test_weights_of_another_size_than_the_config_s_are_refused(tiny: Path) -> None:
    write_json(tiny / "config.json", {**CONFIG, "vocab_size": 30})
    with pytest.raises(ModelError, match=r"word_embeddings.weight is of shape \(12, 8\), config.json says \(30, 8\)"):
        OpenVinoBackend(folder.read(tiny), "f32")


def test_weights_that_do_not_fit_each_other_are_refused(tiny: Path) -> None:
    weights = random_weights()
    weights["encoder.layer.0.intermediate.dense.weight"] = np.zeros((16, 9), np.float32)
    write_tensors(tiny / "model.safetensors", weights)
    with pytest.raises(ModelError, match=r"intermediate.dense.weight is of shape \(16, 9\), config.json says"):
        OpenVinoBackend(folder.read(tiny), "f32")


ENCODERS = SAMPLES.parent / "encoders"


@pytest.mark.parametrize("kept", [0, 1000, 100_000])
def test_an_onnx_file_that_is_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = Path(shutil.copytree(ENCODERS / "onnx-mean", tmp_path / "cut"))
    (path / "model.onnx").write_bytes((ENCODERS / "onnx-mean" / "model.onnx").read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"cut/model.onnx: .*again"):
        OpenVinoBackend(folder.read(path), "f32")


def test_a_safetensors_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = Path(shutil.copytree(ENCODERS / "bert-feelings", tmp_path / "cut"))
    weights = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match=r"model.safetensors: is cut short: .*pull the model again"):
        OpenVinoBackend(folder.read(path), "f32")


def test_an_export_of_another_task_is_refused(tmp_path: Path) -> None:
    path = Path(shutil.copytree(ENCODERS / "onnx-ranker", tmp_path / "other"))
    config = json.loads((path / "config.json").read_text())
    write_json(path / "config.json", {**config, "architectures": ["BertModel"]})
    with pytest.raises(ModelError, match="gives logits and not last_hidden_state or token_embeddings; export it again"):
        OpenVinoBackend(folder.read(path), "f32")


def test_an_export_with_other_labels_is_refused(tmp_path: Path) -> None:
    path = Path(shutil.copytree(ENCODERS / "onnx-ranker", tmp_path / "other"))
    config = json.loads((path / "config.json").read_text())
    write_json(path / "config.json", {**config, "id2label": {"0": "a", "1": "b"}})
    with pytest.raises(ModelError, match=r"gives 1 logits, config.json has 2 labels"):
        OpenVinoBackend(folder.read(path), "f32")


class OldCpu:
    """OpenVINO's view of a CPU without bf16."""

    def get_property(self, device: str, name: str) -> list[str]:
        return {("CPU", "OPTIMIZATION_CAPABILITIES"): ["FP32", "INT8"]}[device, name]


def test_auto_takes_what_the_cpu_computes() -> None:
    assert choose_precision(OldCpu(), "auto") == "f32"
    has_bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert choose_precision(ov.Core(), "auto") == ("bf16" if has_bf16 else "f32")


def test_bf16_is_refused_where_the_cpu_has_none() -> None:
    with pytest.raises(ConfigError, match=r"bert.precision: this CPU does not compute in bf16; use auto or f32"):
        choose_precision(OldCpu(), "bf16")


@pytest.mark.parametrize("precision", ["f32", "auto"])
def test_vectors_are_those_of_sentence_transformers(minilm: Path, precision: Literal["f32", "auto"]) -> None:
    model = folder.read(minilm)
    samples = json.loads(SAMPLES.read_text())["samples"]
    tokenizer = Tokenizer.from_file(str(model.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.context)
    rows = [encoding.ids for encoding in tokenizer.encode_batch([sample["text"] for sample in samples])]
    expected = np.stack([np.frombuffer(base64.b64decode(sample["vector"]), "<f4") for sample in samples])
    vectors = infer(OpenVinoBackend(model, precision), rows)
    cosines = (vectors * expected).sum(axis=1)
    assert len(samples) > 50
    assert cosines.min() >= (0.99999 if precision == "f32" else 0.999)
