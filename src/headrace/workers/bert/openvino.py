"""The backend for CPUs: OpenVINO."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any, Literal, Protocol

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from headrace.errors import ConfigError, ModelError
from headrace.workers.bert import exported, graph
from headrace.workers.bert.backend import Batch
from headrace.workers.bert.folder import ModelFolder
from headrace.workers.bert.network import network
from headrace.workers.bert.safetensors import Weights

PROPERTIES = {
    "PERFORMANCE_HINT": "THROUGHPUT",
    "ENABLE_CPU_PINNING": False,  # other processes compute on these cores too
}


class OpenVinoBackend:
    """The model on the CPU; bf16 where the CPU computes it (``auto``), f32 elsewhere.

    One stream a group of cores, as OpenVINO's throughput hint divides them: less is lost at the end of every small
    operation than with all cores on one batch.
    """

    def __init__(self, folder: ModelFolder, precision: Literal["auto", "f32", "bf16"] = "auto") -> None:
        """Loads and compiles. Raises ModelError, or ConfigError for bf16 on a CPU that has none."""
        core = ov.Core()
        self.packs = folder.graph is None
        self.precision: str = choose_precision(core, precision)
        try:
            model = _model(core, folder)
            self.outputs = int(model.output(0).get_partial_shape()[1].get_length())
            compiled = core.compile_model(model, "CPU", {**PROPERTIES, "INFERENCE_PRECISION_HINT": self.precision})
        except RuntimeError as error:  # what OpenVINO raises for everything, and it says so in many lines
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(
                f"{folder.graph or folder.path}: the model cannot be built ({reason}); pull or export it again"
            ) from None
        self.streams: int = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.streams):
            self._idle.put(compiled.create_infer_request())

    def infer(self, batch: Batch) -> NDArray[np.float32]:
        request = self._idle.get()
        try:
            inputs = graph.pack(batch) if self.packs else (batch.ids, batch.lengths, batch.seconds)
            results = request.infer(inputs, share_inputs=True, share_outputs=True)
            outputs: NDArray[np.float32] = results[0].copy()  # the request's own memory is used again
            return outputs
        finally:
            self._idle.put(request)


def _model(core: ov.Core, folder: ModelFolder) -> ov.Model:
    labels = None if folder.labels is None else len(folder.labels.names)
    if folder.graph is not None:
        return exported.load(core, folder.graph, sentence=folder.sentence, labels=labels)
    assert folder.encoder is not None
    return graph.build(
        folder.encoder,
        network(folder.encoder, Weights(folder.path), labels),
        pooling=folder.sentence.pooling,
        normalize=folder.sentence.normalize,
        pairs=folder.task == "rerank",
    )


class Capabilities(Protocol):
    """The part of OpenVINO's core that is asked what the CPU can do."""

    def get_property(self, device: str, name: str, /) -> Any: ...


def choose_precision(core: Capabilities, wanted: Literal["auto", "f32", "bf16"]) -> Literal["f32", "bf16"]:
    """What to compute in. Raises ConfigError for bf16 on a CPU that has none."""
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if wanted == "bf16" and not has_bf16:
        raise ConfigError("bert.precision: this CPU does not compute in bf16; use auto or f32")
    return "bf16" if has_bf16 and wanted != "f32" else "f32"
