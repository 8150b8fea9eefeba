"""Overview: is it well, and if not, which part is to be looked at."""

from __future__ import annotations

from scripts.dashboards.grafana import Dashboard, Panel, Query, Row, stat
from scripts.dashboards.selectors import (
    IN,
    MODEL,
    NAMESPACE,
    OF_MODEL,
    OF_POOL,
    OF_WORKER,
    WORKER,
    percentiles,
    quantile,
    rate,
)

OF_USERS = f'{OF_MODEL}, source="llm-api"'
"""What llm-api measured, of every model alike."""
OF_PAGE = f'{IN}, server="web", handler="vars"'
"""Caddy counts a request once for each handler; every one passes this."""
FIVE = ', code=~"5.."'

_NOW = Row(
    "Now",
    [
        stat(
            "Requests", "Requests that llm-api answered.", "reqps", Query(rate("llm_api_requests_total", OF_MODEL), "")
        ),
        stat(
            "Failed",
            "Part of the requests that ended with a 5xx, of the worst model. Not near 0: open SLO.",
            "percentunit",
            Query(f"max(llm:error_ratio:rate5m{{{OF_USERS}}})", ""),
            [(0.001, "yellow"), (0.01, "red")],
        ),
        stat(
            "TTFT p95",
            "Time to the first token of a stream, of the slowest model, as its clients see it.",
            "s",
            Query(quantile(0.95, "llm_api_ttft_seconds", OF_MODEL), ""),
            [(1, "yellow"), (2, "red")],
        ),
        stat(
            "Between tokens p95",
            "Mean time between two tokens of a stream, as its clients see it.",
            "s",
            Query(quantile(0.95, "llm_api_itl_seconds", OF_MODEL), ""),
            [(0.05, "yellow"), (0.1, "red")],
        ),
        stat(
            "Tokens generated",
            "Completion tokens of finished requests, a second.",
            "short",
            Query(rate("llm_api_tokens_total", f'{OF_MODEL}, kind="completion"'), ""),
        ),
        stat(
            "Waiting",
            "Requests in the router's queues. Growing: there are too few workers, open Router.",
            "short",
            Query(f"sum(llm_router_queue_depth{{{OF_POOL}}})", ""),
            [(10, "yellow"), (100, "red")],
        ),
        stat(
            "Workers ready",
            "Workers that may get requests, as the router sees them.",
            "short",
            Query(f'sum(llm_router_workers{{{OF_POOL}, state="ready"}})', ""),
        ),
        stat(
            "Alerts",
            "Headrace's alerts that fire. Each names its runbook.",
            "short",
            Query('count(ALERTS{alertstate="firing", alertname=~"(Llm|Gpu).*"}) or vector(0)', ""),
            [(1, "red")],
        ),
    ],
)

_API = Row(
    "API",
    [
        Panel(
            "Latency of requests",
            "From a request's head to the last byte of its answer. Long answers take long: compare it with itself.",
            "s",
            percentiles("llm_api_request_duration_seconds", OF_MODEL),
        ),
        Panel(
            "Time to first token",
            "Streams only, at llm-api: queue, prompt and network within the cluster. Above 2 s, look at Router first.",
            "s",
            percentiles("llm_api_ttft_seconds", OF_MODEL),
            steps=[(2, "red")],
        ),
        Panel(
            "Requests by status",
            "429: a limit of the client's. 503: our capacity. 499: the client left.",
            "reqps",
            [Query(rate("llm_api_requests_total", OF_MODEL, "status"), "{{status}}")],
            stacked=True,
        ),
        Panel(
            "Errors by code",
            "What clients are told; docs/errors.md explains each code.",
            "reqps",
            [Query(rate("llm_api_errors_total", IN, "code"), "{{code}}")],
        ),
        Panel(
            "Requests under way",
            "Requests that llm-api is answering, of all its pods.",
            "short",
            [Query(f"sum by (pod) (llm_api_in_flight{{{IN}}})", "{{pod}}")],
            stacked=True,
        ),
        Panel(
            "Refused by limits",
            "429s by what was used up. One that never ends: raise the limit, or talk to its owner (Tenants and cost).",
            "reqps",
            [Query(rate("llm_api_limited_total", IN, "limit"), "{{limit}}")],
            stacked=True,
        ),
    ],
)

_PAGE = Row(
    "Page",
    [
        Panel(
            "Answers of llm-web",
            "By status, as Caddy counts them; 404 and 304 are ordinary.",
            "reqps",
            [Query(rate("caddy_http_request_duration_seconds_count", OF_PAGE, "code"), "{{code}}")],
            stacked=True,
        ),
        Panel(
            "Failed",
            "Part of llm-web's answers that are 5xx.",
            "percentunit",
            [
                Query(
                    f"({rate('caddy_http_request_duration_seconds_count', OF_PAGE + FIVE)} or vector(0)) / "
                    f"({rate('caddy_http_request_duration_seconds_count', OF_PAGE)} > 0)",
                    "5xx",
                )
            ],
        ),
        Panel(
            "Latency",
            "Of llm-web's answers. Where it also brings llm-api (headrace up, compose), streams are in it.",
            "s",
            percentiles("caddy_http_request_duration_seconds", OF_PAGE),
        ),
    ],
)

_MODELS = Row(
    "Models",
    [
        Panel(
            "Requests by model",
            "Throughput, in requests.",
            "reqps",
            [Query(rate("llm_api_requests_total", OF_MODEL, "model"), "{{model}}")],
            stacked=True,
        ),
        Panel(
            "Tokens by model",
            "Throughput, in tokens a second, of whatever engine: generated, taken in as prompts, and of these cached.",
            "short",
            [Query(f"sum by (model, kind) (llm:tokens:rate5m{{{OF_USERS}}})", "{{model}} {{kind}}")],
            stacked=True,
        ),
        Panel(
            "Time between tokens, p95",
            "As clients see it, the same for every engine. Above 0.1 s reading becomes tiresome.",
            "s",
            [Query(f"max by (model) (llm:itl_seconds:p95_5m{{{OF_USERS}}})", "{{model}}")],
            steps=[(0.1, "red")],
        ),
    ],
)

_ROUTER = Row(
    "Router",
    [
        Panel(
            "Queue depth",
            "Requests that wait for a worker, by model. A queue that only grows needs workers or limits.",
            "short",
            [Query(f"sum by (pool) (llm_router_queue_depth{{{OF_POOL}}})", "{{pool}}")],
            stacked=True,
        ),
        Panel(
            "Time in the queue, p95",
            "Of the requests that got a worker.",
            "s",
            [Query(quantile(0.95, "llm_router_queue_wait_seconds", OF_POOL, "pool"), "{{pool}}")],
        ),
        Panel(
            "Workers ready",
            "As they say of themselves: 1 each while requests may come.",
            "short",
            [Query(f"sum by (job) (llm_worker_ready{{{OF_WORKER}}})", "{{job}}")],
            stacked=True,
        ),
    ],
)

_GPU = Row(
    "GPUs",
    [
        Panel(
            "Utilisation",
            "Part of the time in which a kernel ran. Idle while a queue waits: something before the GPU is slow.",
            "percentunit",
            [Query("avg by (Hostname, gpu) (DCGM_FI_DEV_GPU_UTIL) / 100", "{{Hostname}} GPU {{gpu}}")],
            most=1,
            width=6,
        ),
        Panel(
            "Memory",
            "Part of the framebuffer that is used. Engines take it all at their start; KV usage is on Engines.",
            "percentunit",
            [
                Query(
                    "max by (Hostname, gpu) (DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE))",
                    "{{Hostname}} GPU {{gpu}}",
                )
            ],
            most=1,
            width=6,
        ),
        Panel(
            "Memory errors (ECC)",
            "Since the driver was loaded. Single-bit ones were corrected; a double-bit one means: drain the node.",
            "short",
            [
                Query("max by (Hostname, gpu) (DCGM_FI_DEV_ECC_SBE_VOL_TOTAL)", "{{Hostname}} GPU {{gpu}} single-bit"),
                Query("max by (Hostname, gpu) (DCGM_FI_DEV_ECC_DBE_VOL_TOTAL)", "{{Hostname}} GPU {{gpu}} double-bit"),
            ],
            width=6,
        ),
        Panel(
            "Temperature",
            "Of the chip. GPUs slow themselves down somewhere above 85 °C.",
            "celsius",
            [Query("max by (Hostname, gpu) (DCGM_FI_DEV_GPU_TEMP)", "{{Hostname}} GPU {{gpu}}")],
            steps=[(85, "red")],
            width=6,
        ),
    ],
)

_NODES = Row(
    "Nodes and pods",
    [
        Panel(
            "Processors",
            "Part of the time that a node's processors were busy.",
            "percentunit",
            [
                Query(
                    '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))',
                    "{{instance}}",
                )
            ],
            most=1,
            width=6,
        ),
        Panel(
            "Memory",
            "Part of a node's memory that programs hold.",
            "percentunit",
            [
                Query(
                    "max by (instance) (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
                    "{{instance}}",
                )
            ],
            most=1,
            width=6,
        ),
        Panel(
            "Disks",
            "Part that is used, of each local disk. The models' store must hold the next model too.",
            "percentunit",
            [
                Query(
                    "max by (instance, device) (1 - node_filesystem_avail_bytes"
                    '{fstype!~"tmpfs|ramfs|overlay|squashfs|9p"} / (node_filesystem_size_bytes'
                    '{fstype!~"tmpfs|ramfs|overlay|squashfs|9p"} > 0))',
                    "{{instance}} {{device}}",
                )
            ],
            most=1,
            width=6,
        ),
        Panel(
            "Node conditions",
            "What Kubernetes holds against a node: not ready, or short of memory, disk or processes. Empty is well.",
            "short",
            [
                Query(
                    'sum by (node, condition) (kube_node_status_condition{condition="Ready", status!="true"} == 1 '
                    'or kube_node_status_condition{condition!="Ready", status="true"} == 1)',
                    "{{node}} {{condition}}",
                )
            ],
            width=6,
        ),
        Panel(
            "Pods",
            "Pods of the namespace that are ready, and those that are not.",
            "short",
            [
                Query(f'sum(kube_pod_status_ready{{{IN}, condition="true"}})', "ready"),
                Query(f'sum(kube_pod_status_ready{{{IN}, condition="false"}})', "not ready"),
            ],
        ),
        Panel(
            "Containers that wait",
            "And why: CrashLoopBackOff, ImagePullBackOff and the like. Empty is well.",
            "short",
            [
                Query(
                    f"sum by (pod, reason) (kube_pod_container_status_waiting_reason{{{IN}}} > 0)",
                    "{{pod}} {{reason}}",
                )
            ],
        ),
        Panel(
            "Restarts",
            "Of containers, in the last hour.",
            "short",
            [
                Query(
                    f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{IN}}}[1h]))",
                    "{{pod}}",
                )
            ],
        ),
    ],
)

OVERVIEW = Dashboard(
    "headrace-overview",
    "Overview",
    "Latency, throughput, queue, GPUs, nodes: is the platform well, and if not, where to look.",
    [_NOW, _API, _PAGE, _MODELS, _ROUTER, _GPU, _NODES],
    [NAMESPACE, MODEL, WORKER],
)
