"""trt-worker: TensorRT-LLM's ``trtllm-serve`` under supervision."""
