"""vllm-worker: vLLM under supervision."""
