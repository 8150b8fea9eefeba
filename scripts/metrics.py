"""Writes docs/metrics.md from the metrics in the code: python -m scripts.metrics"""

from __future__ import annotations

from pathlib import Path

from headrace.api.metrics import TENANTS, ApiMetrics
from headrace.config import BertWorkerSettings, CpuWorkerSettings
from headrace.router.metrics import RouterMetrics
from headrace.router.resume.replay import ReplayMemory
from headrace.telemetry import metrics
from headrace.telemetry.metrics import Registry
from headrace.telemetry.snapshot import FamilySnapshot
from headrace.workers.bert.metrics import BertMetrics
from headrace.workers.cpu.metrics import CpuMetrics
from headrace.workers.metrics import WorkerMetrics

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"

LARGE = (1_000, 10, 100)
"""Tenants, models and workers of the installation whose series are counted."""
SERIES = {"llm-api": 8_000, "router": 3_200, "workers": 11_000}
"""What it makes at most: a replica of llm-api, a router, all workers. tests/monitoring/test_cardinality.py holds it."""
_ALL = 2 * (SERIES["llm-api"] + SERIES["router"]) + SERIES["workers"]

_HEAD = """# Metrics

<!-- Written by scripts/metrics.py from the code. -->

Each service tells Prometheus about itself at `/metrics` of its ops port. How they are collected:
[scraping.md](scraping.md); the rules and alerts over them: [alerts.md](alerts.md).

Names are `<service>_<what>_<unit>`: `llm_api_*`, `llm_router_*`, `cpu_worker_*`, `bert_worker_*`; `llm_worker_*` is
what every worker has, whatever its engine. vllm-worker and trt-worker pass their engine's own text on (`vllm:*`,
`trtllm_*`), and the [recording rules](alerts.md) make all of them comparable. Counters end in `_total`; times are
seconds (`_seconds`), parts of a whole are 0 to 1 (`_ratio`). Of several processes behind one port (`--processes`)
counters and histograms are summed, gauges as the table says. llm-web's are Caddy's own (`caddy_*`).

"""

_LABELS = f"""
## Labels

No label's values come from a request as they are, so what a client sends cannot make series.

| label | values | how many |
|---|---|---|
| `path`, `endpoint` | routes of the service | as many as there are |
| `model`, `pool` | pools that the router knows; empty where a request was refused before | pools + 1 |
| `alias` | names in the file of aliases | aliases |
| `status`, `code`, `reason`, `outcome`, `finish_reason` | statuses, [codes](errors.md), words of ours | some dozens |
| `tenant` | the first {TENANTS} tenants that are seen, by id; all others together are `other` | {TENANTS} + 1 |
| `kind` | `prompt`, `cached` (of the prompt), `completion` | 3 |
| `owner`, `limit` | `key` or `tenant`; a limit of [limits.md](limits.md) | some |
| `priority` | 0 to 9 | 10 |
| `state`, `stage`, `verdict` | words of ours | 8 |
| `worker` | address of a worker; series go when it goes | workers of the pool |
| `engine` | `cpu`, `bert`, `vllm`, `trt` | 1 for each worker |

Besides, one family has at most {metrics.MAX_CHILDREN:,} label sets; later ones are counted with all labels `other`.

## How many series

An installation of {LARGE[0]:,} tenants, {LARGE[1]} models and {LARGE[2]} workers (cpu-worker and bert-worker), in which
every endpoint, status and error has occurred, makes at most so many series:

| each replica of llm-api | each router | all workers together | with two replicas of each |
|---|---|---|---|
| {SERIES["llm-api"]:,} | {SERIES["router"]:,} | {SERIES["workers"]:,} | {_ALL:,} |

Each engine of vLLM or TensorRT-LLM tells some hundreds more, whatever its load.

## Exemplars

Where traces are on ([traces.md](traces.md)), `llm_api_request_duration_seconds`, `llm_api_ttft_seconds` and
`llm_api_itl_seconds` keep, for each bucket, the last observation whose trace is sent to the collector, with its
`trace_id`. They are told in OpenMetrics' format alone, which Prometheus asks for by itself; it keeps them with
`--enable-feature=exemplar-storage`. Of several processes the latest one of a bucket stays.
"""


def catalogue() -> dict[str, list[FamilySnapshot]]:
    """Every metric of the code, by the service that has it."""
    api, router, worker, cpu, bert = (Registry() for _ in range(5))
    ApiMetrics(api)
    RouterMetrics(router).watch(router, [], ReplayMemory(0))
    WorkerMetrics(worker, "cpu-worker", "model")
    CpuMetrics(cpu)
    BertMetrics(bert)
    made = {"llm-api": api, "router": router, "every worker": worker, "cpu-worker": cpu, "bert-worker": bert}
    return {service: registry.snapshot() for service, registry in made.items()}


def series(family: FamilySnapshot) -> set[str]:
    """The names that a family has in Prometheus."""
    if family.kind == "histogram":
        return {f"{family.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")}
    return {family.name}


def ports() -> dict[str, str]:
    return {
        "llm-api": "9100",
        "router": "9101",
        "every worker": "9110, 9120, 9130, 9140",
        "cpu-worker": str(CpuWorkerSettings.model_fields["ops_port"].default),
        "bert-worker": str(BertWorkerSettings.model_fields["ops_port"].default),
    }


def render() -> str:
    found = catalogue()
    tables = "\n".join(
        f"## {service} ({ports()[service]})\n\n| metric | type | labels | |\n|---|---|---|---|\n"
        + "".join(map(_row, families))
        for service, families in found.items()
    )
    return _HEAD + tables + "\n" + _buckets(found) + _LABELS


def _row(family: FamilySnapshot) -> str:
    kind = f"gauge, {family.merge}" if family.kind == "gauge" else family.kind
    labels = ", ".join(f"`{label}`" for label in family.label_names)
    return f"| `{family.name}` | {kind} | {labels} | {family.help} |\n"


def _buckets(found: dict[str, list[FamilySnapshot]]) -> str:
    by_bounds: dict[tuple[float, ...], list[str]] = {}
    for families in found.values():
        for family in families:
            if family.kind == "histogram":
                by_bounds.setdefault(family.bounds, []).append(family.name)
    rows = "".join(
        f"| {', '.join(f'`{name}`' for name in names)} | {' '.join(f'{bound:g}' for bound in bounds)} |\n"
        for bounds, names in by_bounds.items()
    )
    return (
        "## Buckets\n\nThe thresholds of alerts and objectives are bounds, so that they are counted and not guessed: "
        f"2 s to\nthe first token, 0.1 s between two.\n\n| histograms | bounds |\n|---|---|\n{rows}"
    )


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
