"""Engines: the same numbers of vLLM, TensorRT-LLM, cpu-worker and bert-worker, then what each alone tells."""

from __future__ import annotations

from scripts.dashboards.grafana import Dashboard, Panel, Query, Row
from scripts.dashboards.selectors import (
    MODEL,
    NAMESPACE,
    OF_MODEL,
    OF_WORKER,
    WORKER,
    percentiles,
    quantile,
    rate,
    ratio,
)

OF_ENGINE = f'{OF_MODEL}, source!="llm-api"'

_COMPARED = Row(
    "All engines",
    [
        Panel(
            "Time to first token, p95",
            "By source: llm-api has what clients see; the engine has no router and no network in it.",
            "s",
            [Query(f"llm:ttft_seconds:p95_5m{{{OF_MODEL}}}", "{{model}} {{source}}")],
            steps=[(2, "red")],
        ),
        Panel(
            "Time between tokens, p95",
            "Rises with the number of running requests: the price of throughput.",
            "s",
            [Query(f"llm:itl_seconds:p95_5m{{{OF_MODEL}}}", "{{model}} {{source}}")],
            steps=[(0.1, "red")],
        ),
        Panel(
            "Tokens",
            "A second, by kind, as the engines count them: what clients did not wait for is in it.",
            "short",
            [Query(f"llm:tokens:rate5m{{{OF_ENGINE}}}", "{{model}} {{source}} {{kind}}")],
            stacked=True,
        ),
        Panel(
            "Waiting",
            "In the router, where any worker may still take them, and inside engines. Most should be in the router.",
            "short",
            [Query(f"llm:queue_depth{{{OF_MODEL}}}", "{{model}} {{source}}")],
        ),
        Panel(
            "KV cache, fullest worker",
            "Above 0.95 requests wait, and vLLM begins to preempt: fewer at once, shorter contexts, or more workers.",
            "percentunit",
            [Query(f"llm:kv_usage:max{{{OF_MODEL}}}", "{{model}} {{source}}")],
            most=1,
            steps=[(0.95, "red")],
        ),
        Panel(
            "Workers",
            "What each says of itself: ready, draining (it only finishes), stalled (work, but no progress).",
            "short",
            [
                Query(f"sum(llm_worker_ready{{{OF_WORKER}}})", "ready"),
                Query(f"sum(llm_worker_draining{{{OF_WORKER}}})", "draining"),
                Query(f"sum(llm_worker_stalled{{{OF_WORKER}}})", "stalled"),
                Query(f"sum(increase(llm_worker_restarts_total{{{OF_WORKER}}}[1h]))", "engine restarts in an hour"),
            ],
        ),
    ],
)

_CPU = Row(
    "cpu-worker",
    [
        Panel(
            "Sequences",
            "Running, and waiting for the engine.",
            "short",
            [
                Query(f"sum by (pod) (cpu_worker_requests_running{{{OF_WORKER}}})", "{{pod}} running"),
                Query(f"sum by (pod) (cpu_worker_requests_waiting{{{OF_WORKER}}})", "{{pod}} waiting"),
            ],
        ),
        Panel(
            "Ends of sequences",
            "stop and length are ordinary; cancelled: the client left; failed: look at the worker's log.",
            "reqps",
            [Query(rate("cpu_worker_requests_total", OF_WORKER, "finish_reason"), "{{finish_reason}}")],
            stacked=True,
        ),
        Panel(
            "Steps of the engine",
            "A second. 0 while sequences run: the engine is stuck.",
            "ops",
            [Query(rate("cpu_worker_iterations_total", OF_WORKER, "pod"), "{{pod}}")],
        ),
    ],
)

_BERT = Row(
    "bert-worker",
    [
        Panel(
            "Inputs",
            "Computed a second.",
            "rowsps",
            [Query(rate("bert_worker_rows_total", OF_WORKER, "pod"), "{{pod}}")],
        ),
        Panel(
            "Latency of requests",
            "Inside the worker.",
            "s",
            percentiles("bert_worker_request_duration_seconds", OF_WORKER),
        ),
        Panel(
            "Padding",
            "Part of the computed tokens that is padding: high where short and long inputs come together.",
            "percentunit",
            [
                Query(
                    ratio(
                        rate("bert_worker_padding_tokens_total", OF_WORKER, "pod"),
                        f"({rate('bert_worker_padding_tokens_total', OF_WORKER, 'pod')} + "
                        f"{rate('bert_worker_tokens_total', OF_WORKER, 'pod')})",
                    ),
                    "{{pod}}",
                )
            ],
            most=1,
        ),
        Panel(
            "Tokens of a batch",
            "Padding included.",
            "short",
            percentiles("bert_worker_batch_tokens", OF_WORKER, (0.5, 0.95)),
        ),
        Panel(
            "Time in the queue",
            "From taking a request to the batch with its first input.",
            "s",
            percentiles("bert_worker_queue_wait_seconds", OF_WORKER, (0.5, 0.95)),
        ),
        Panel(
            "Waiting inputs",
            "That have no batch yet.",
            "short",
            [Query(f"sum by (pod) (bert_worker_rows_waiting{{{OF_WORKER}}})", "{{pod}}")],
        ),
    ],
)

_VLLM = Row(
    "vLLM",
    [
        Panel(
            "Requests",
            "Running, and waiting for the scheduler.",
            "short",
            [
                Query(f"sum by (pod) (vllm:num_requests_running{{{OF_WORKER}}})", "{{pod}} running"),
                Query(f"sum by (pod) (vllm:num_requests_waiting{{{OF_WORKER}}})", "{{pod}} waiting"),
            ],
        ),
        Panel(
            "Preemptions",
            "Requests that lost their KV blocks and are computed again: the cache is too small for what runs.",
            "ops",
            [Query(rate("vllm:num_preemptions_total", OF_WORKER, "pod"), "{{pod}}")],
        ),
        Panel(
            "Prefix cache",
            "Part of the prompt tokens that were looked up and found.",
            "percentunit",
            [
                Query(
                    ratio(
                        rate("vllm:prefix_cache_hits_total", OF_WORKER, "pod"),
                        rate("vllm:prefix_cache_queries_total", OF_WORKER, "pod"),
                    ),
                    "{{pod}}",
                )
            ],
            most=1,
        ),
    ],
)

_TRT = Row(
    "TensorRT-LLM",
    [
        Panel(
            "Requests",
            "Running, and waiting.",
            "short",
            [
                Query(f"sum by (pod) (trtllm_num_requests_running{{{OF_WORKER}}})", "{{pod}} running"),
                Query(f"sum by (pod) (trtllm_num_requests_waiting{{{OF_WORKER}}})", "{{pod}} waiting"),
            ],
        ),
        Panel(
            "Time in the engine's queue, p95",
            "By TensorRT-LLM's own histogram.",
            "s",
            [Query(quantile(0.95, "trtllm_request_queue_time_seconds", OF_WORKER, "pod"), "{{pod}}")],
        ),
        Panel(
            "KV cache hits",
            "Part of the blocks that were reused.",
            "percentunit",
            [Query(f"max by (pod) (trtllm_kv_cache_hit_rate{{{OF_WORKER}}})", "{{pod}}")],
            most=1,
        ),
    ],
)

_GPU = Row(
    "GPUs",
    [
        Panel(
            "Tensor cores",
            "Part of the cycles in which they worked: low while decoding, which waits for memory.",
            "percentunit",
            [Query("avg by (Hostname, gpu) (DCGM_FI_PROF_PIPE_TENSOR_ACTIVE)", "{{Hostname}} GPU {{gpu}}")],
            most=1,
        ),
        Panel(
            "Memory bandwidth",
            "Part of the cycles in which memory moved data: near 1 while decoding is as fast as it can be.",
            "percentunit",
            [Query("avg by (Hostname, gpu) (DCGM_FI_PROF_DRAM_ACTIVE)", "{{Hostname}} GPU {{gpu}}")],
            most=1,
        ),
        Panel(
            "Power",
            "Drawn by each GPU.",
            "watt",
            [Query("max by (Hostname, gpu) (DCGM_FI_DEV_POWER_USAGE)", "{{Hostname}} GPU {{gpu}}")],
        ),
    ],
)

ENGINES = Dashboard(
    "headrace-engines",
    "Engines",
    "The same numbers of every engine, then what each of them alone tells, and the GPUs below.",
    [_COMPARED, _CPU, _BERT, _VLLM, _TRT, _GPU],
    [NAMESPACE, MODEL, WORKER],
)
