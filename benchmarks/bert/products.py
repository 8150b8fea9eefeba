"""The encoder's matrix products with nothing between them: what this processor allows at most."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset15 as op

from benchmarks.bert.server import Timing
from headrace.workers.bert.encoder import EncoderConfig
from headrace.workers.bert.openvino import PROPERTIES


def products(config: EncoderConfig, precision: str, tokens: int, budget: int) -> Callable[[], Timing]:
    """Computes the linear layers of ``tokens`` tokens, ``budget`` at a time, all streams busy.

    Left out is what depends on the texts' lengths (attention's own products) and all that is no product at all.
    """
    model = _chain(config, budget)
    compiled = ov.Core().compile_model(model, "CPU", {**PROPERTIES, "INFERENCE_PRECISION_HINT": precision})
    streams: int = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    idle: SimpleQueue[Any] = SimpleQueue()
    for _ in range(streams):
        idle.put(compiled.create_infer_request())
    x = np.random.default_rng(1).standard_normal((budget, config.hidden_size)).astype(np.float32)

    def one(_: int) -> None:
        request = idle.get()
        request.infer([x], share_inputs=True, share_outputs=True)
        idle.put(request)

    def run() -> Timing:
        began, cpu = time.perf_counter(), time.process_time()
        batches = math.ceil(tokens / budget)
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(one, range(batches)))
        share = tokens / (batches * budget)
        return Timing((time.perf_counter() - began) * share, (time.process_time() - cpu) * share)

    one(0)  # compiles
    return run


def _chain(config: EncoderConfig, rows: int) -> ov.Model:
    """Queries, keys, values, what is attended and the two wide ones of each layer, one after another."""
    hidden, wide = config.hidden_size, config.intermediate_size
    dice = np.random.default_rng(0)
    x = given = op.parameter([rows, hidden], np.float32)
    for _ in range(config.num_hidden_layers):
        for inner, outer in [(hidden, hidden)] * 4 + [(hidden, wide), (wide, hidden)]:
            weight = dice.standard_normal((outer, inner)) / np.sqrt(inner)
            x = op.matmul(x, op.constant(weight.astype(np.float32)), False, True)
    return ov.Model([op.result(x)], [given], "products")
