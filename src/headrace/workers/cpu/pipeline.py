"""OpenVINO GenAI's continuous batching as an engine that takes generations and makes steps.

Every call holds the interpreter for as long as the C++ code runs, which is why this lives in a process of its own
(``child``): an event loop beside it would stand still for each step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

from headrace.errors import ModelError
from headrace.workers.cpu.messages import EngineSpec, Finish, Output, Precision, Sampling

_PROPERTIES: dict[Precision, dict[str, Any]] = {
    # Quantising activations on the fly is twice as fast, but then a token depends on what else is in the batch.
    "f32": {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0},
    "bf16": {"INFERENCE_PRECISION_HINT": "bf16", "KV_CACHE_PRECISION": "f16"},
}
_FINISH: dict[str, Finish] = {"STOP": "stop", "LENGTH": "length", "TOOL_CALL": "stop"}


class Pipeline:
    """``child.Engine`` over ``ContinuousBatchingPipeline``."""

    def __init__(self, spec: EngineSpec) -> None:
        """Load the model and generate one token. Raises ModelError."""
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = spec.kv_blocks
        scheduler.max_num_seqs = spec.max_running
        scheduler.enable_prefix_caching = True
        try:
            self._pipeline = genai.ContinuousBatchingPipeline(
                spec.path, scheduler, "CPU", _PROPERTIES[spec.precision], {}
            )
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{spec.path} cannot be loaded by OpenVINO GenAI: {reason[:500]}") from None
        self._handles: dict[int, Any] = {}
        self._cancelled: set[int] = set()
        self._blocks = spec.kv_blocks
        defaults = self._pipeline.get_config()
        self._eos: int = defaults.eos_token_id
        self._stop_ids: set[int] = set(defaults.stop_token_ids) | {self._eos}
        self._warm_up()

    @property
    def busy(self) -> bool:
        return bool(self._handles)

    @property
    def kv_used(self) -> int:
        if not self._handles:  # the usage of the last step is kept, but what is left are cached blocks, free to reuse
            return 0
        usage: float = self._pipeline.get_metrics().cache_usage
        return round(usage / 100 * self._blocks)

    def add(self, id_: int, prompt: list[int], sampling: Sampling) -> None:
        tokens = ov.Tensor(np.array([prompt], dtype=np.int64))
        self._handles[id_] = self._pipeline.add_request(id_, tokens, self._config(sampling))

    def cancel(self, id_: int) -> None:
        handle = self._handles.get(id_)
        if handle is not None:
            handle.cancel()
            self._cancelled.add(id_)

    def step(self) -> list[Output]:
        self._pipeline.step()
        outputs = [output for id_ in list(self._handles) if (output := self._read(id_)) is not None]
        for output in outputs:
            if output.finish:
                del self._handles[output.id]
                self._cancelled.discard(output.id)
        return outputs

    def _read(self, id_: int) -> Output | None:
        handle = self._handles[id_]
        running = handle.get_status() == genai.GenerationStatus.RUNNING
        if id_ in self._cancelled:
            return None if running else Output(id_, [], [], "cancelled")
        generated = next(iter(handle.read().values()), None) if handle.can_read() else None
        if generated is None:  # nothing new, or no place in the cache for more
            return None if running else Output(id_, [], [], "failed")
        finish = _FINISH.get(generated.finish_reason.name, "" if running else "failed")
        return Output(id_, generated.generated_ids, generated.generated_log_probs, finish)

    def _config(self, sampling: Sampling) -> Any:
        config = genai.GenerationConfig()
        config.apply_chat_template = False
        config.eos_token_id = self._eos
        config.stop_token_ids = self._stop_ids
        config.ignore_eos = sampling.ignore_eos
        config.max_new_tokens = sampling.max_tokens
        config.min_new_tokens = sampling.min_tokens
        config.logprobs = int(sampling.logprobs)
        config.frequency_penalty = sampling.frequency_penalty
        config.presence_penalty = sampling.presence_penalty
        config.repetition_penalty = sampling.repetition_penalty
        if sampling.temperature > 0:
            config.do_sample = True
            config.temperature = sampling.temperature
            config.top_p = sampling.top_p
            config.min_p = sampling.min_p
            config.rng_seed = sampling.seed
            if sampling.top_k:
                config.top_k = sampling.top_k
        return config

    def _warm_up(self) -> None:
        self.add(0, [self._eos], Sampling(max_tokens=2, ignore_eos=True))
        while self.busy:
            self.step()
