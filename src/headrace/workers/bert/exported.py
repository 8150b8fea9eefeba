"""A network that was exported whole, as ONNX or in OpenVINO's own format, with our inputs in front and pooling behind.

An export takes ``input_ids``, ``attention_mask`` and sometimes ``token_type_ids``, and gives hidden states or logits:
so optimum and sentence-transformers write it. OpenVINO reads both formats itself.
"""

from __future__ import annotations

from pathlib import Path

import openvino as ov
from openvino import opset15 as op

from headrace.errors import ModelError
from headrace.workers.bert.graph import Inputs, Node, pool
from headrace.workers.bert.sentence import Sentence

_AGAIN = "export it again with optimum"
_HIDDEN = ("last_hidden_state", "token_embeddings")


def load(core: ov.Core, path: Path, *, sentence: Sentence, labels: int | None) -> ov.Model:
    """The graph, from ``graph.Inputs`` to the outputs of ``graph.build``. Raises ModelError for an unfitting one."""
    exported = core.read_model(path)
    inputs = Inputs()
    given = {
        "input_ids": inputs.ids,
        "attention_mask": inputs.rows.present,
        "token_type_ids": inputs.in_second(),
    }
    for parameter in exported.get_parameters():
        name = parameter.get_friendly_name()
        if name not in given:
            raise ModelError(
                f"{path}: takes {name}; bert-worker gives {', '.join(given)}; export it again with optimum"
            )
        value = op.convert(given[name], parameter.get_element_type().get_type_name())
        parameter.output(0).replace(value.output(0))
    found = _output(path, exported, labels)
    # Cut the result off and keep what feeds it.
    x = op.convert(found.node.input_value(0), "f32")
    if labels is not None:
        return inputs.model(x)
    return inputs.model(pool(x, inputs.rows, sentence.pooling, sentence.normalize))


def _output(path: Path, exported: ov.Model, labels: int | None) -> Node:
    wanted = ("logits",) if labels is not None else _HIDDEN
    names = [name for output in exported.outputs for name in output.get_names()]
    for output in exported.outputs:
        if output.get_names() & set(wanted):
            _check_shape(path, output, labels)
            return output
    raise ModelError(f"{path}: gives {', '.join(names)} and not {' or '.join(wanted)}; {_AGAIN}")


def _check_shape(path: Path, output: Node, labels: int | None) -> None:
    shape = output.get_partial_shape()
    if labels is not None and shape[1].is_static and shape[1].get_length() != labels:
        raise ModelError(
            f"{path}: gives {shape[1].get_length()} logits, config.json has {labels} labels; pull the model again"
        )
