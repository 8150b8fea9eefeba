"""Router: why requests wait, where they go, and what became of those that met a dead worker."""

from __future__ import annotations

from scripts.dashboards.grafana import Dashboard, Panel, Query, Row
from scripts.dashboards.selectors import IN, MODEL, NAMESPACE, OF_POOL, percentiles, quantile, rate, ratio

_FLOW = Row(
    "Queue",
    [
        Panel(
            "Requests by outcome",
            "How they ended, ok or the error's code.",
            "reqps",
            [Query(rate("llm_router_requests_total", OF_POOL, "outcome"), "{{outcome}}")],
            stacked=True,
        ),
        Panel(
            "Waiting, by model",
            "Requests without a worker. Every queue is bounded; what cannot be served in time is refused with 503.",
            "short",
            [Query(f"sum by (pool) (llm_router_queue_depth{{{OF_POOL}}})", "{{pool}}")],
            stacked=True,
        ),
        Panel(
            "Waiting, by priority",
            "0 goes first; the last band keeps a share of 5 %.",
            "short",
            [Query(f"sum by (priority) (llm_router_queue_depth{{{OF_POOL}}})", "{{priority}}")],
            stacked=True,
        ),
        Panel(
            "Time in the queue",
            "Of the requests that got a worker.",
            "s",
            percentiles("llm_router_queue_wait_seconds", OF_POOL),
        ),
        Panel(
            "Time in the queue, p95 by priority",
            "Low bands wait longer: that is what they are for.",
            "s",
            [Query(quantile(0.95, "llm_router_queue_wait_seconds", OF_POOL, "priority"), "{{priority}}")],
        ),
        Panel(
            "Dispatch latency",
            "From a request's arrival to its first dispatch, with an idle worker: the router's own work.",
            "s",
            percentiles("llm_router_dispatch_seconds", OF_POOL),
        ),
    ],
)

_PLACEMENT = Row(
    "Placement",
    [
        Panel(
            "Decisions by reason",
            "only: one worker could take it. prefix: its cache. load: the least busy. guard: the cache's was too busy.",
            "reqps",
            [Query(rate("llm_router_decisions_total", OF_POOL, "reason"), "{{reason}}")],
            stacked=True,
        ),
        Panel(
            "Requests at workers",
            "As the router counts them. One worker far above its peers is slow, or has all the prefixes.",
            "short",
            [Query(f"sum by (worker) (llm_router_in_flight{{{OF_POOL}}})", "{{worker}}")],
        ),
        Panel(
            "Workers by state",
            "down: no connection. suspect: no progress; quarantined: only probes go there.",
            "short",
            [Query(f"sum by (state) (llm_router_workers{{{OF_POOL}}} > 0)", "{{state}}")],
            stacked=True,
        ),
        Panel(
            "Prefix cache",
            "Part of the prompt tokens that the router held to be cached, and that engines found in their caches.",
            "percentunit",
            [
                Query(
                    ratio(
                        rate("llm_router_expected_cached_tokens_total", OF_POOL, "pool"),
                        rate("llm_router_prompt_tokens_total", OF_POOL, "pool"),
                    ),
                    "{{pool}} expected",
                ),
                Query(
                    ratio(
                        rate("llm_router_engine_cached_tokens_total", OF_POOL, "pool"),
                        rate("llm_router_engine_prompt_tokens_total", OF_POOL, "pool"),
                    ),
                    "{{pool}} found",
                ),
            ],
            most=1,
        ),
        Panel(
            "First bytes of workers, p95",
            "From dispatch to the worker's first bytes, by model.",
            "s",
            [Query(quantile(0.95, "llm_router_first_byte_seconds", OF_POOL, "pool"), "{{pool}}")],
        ),
        Panel(
            "Probes",
            "Of suspect and quarantined workers, by verdict.",
            "reqps",
            [Query(rate("llm_router_probes_total", OF_POOL, "verdict"), "{{verdict}}")],
        ),
    ],
)

_FAILURE = Row(
    "When workers fail",
    [
        Panel(
            "Retries",
            "Attempts beyond the first, by what ended the one before. Clients do not see them.",
            "reqps",
            [Query(rate("llm_router_retries_total", OF_POOL, "reason"), "{{reason}}")],
        ),
        Panel(
            "Broken streams",
            "Resumed on another worker, which clients do not see; or ended with an error event.",
            "reqps",
            [
                Query(rate("llm_router_resumes_total", OF_POOL), "resumed"),
                Query(rate("llm_router_broken_streams_total", OF_POOL), "ended"),
            ],
        ),
        Panel(
            "Why not resumed",
            "Broken streams that could not go on, by the reason.",
            "reqps",
            [Query(rate("llm_router_not_resumable_total", OF_POOL, "reason"), "{{reason}}")],
        ),
        Panel(
            "Cancelled",
            "Requests whose client left, or took nothing for too long, by how far they were.",
            "reqps",
            [Query(rate("llm_router_cancellations_total", OF_POOL, "stage"), "{{stage}}")],
        ),
        Panel(
            "Poisoned",
            "Requests refused because two workers died on the same body. Anything but 0 is worth a look at the logs.",
            "reqps",
            [Query(rate("llm_router_poisoned_total", OF_POOL, "pool"), "{{pool}}")],
        ),
        Panel(
            "Replay memory",
            "What is kept of running streams so that they can be resumed; full, new streams cannot be.",
            "bytes",
            [Query(f"sum by (pod) (llm_router_replay_bytes{{{IN}}})", "{{pod}}")],
        ),
    ],
)

ROUTER = Dashboard(
    "headrace-router",
    "Router",
    "Queue, placement, and what happens when workers fail.",
    [_FLOW, _PLACEMENT, _FAILURE],
    [NAMESPACE, MODEL],
)
