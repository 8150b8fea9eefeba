"""Writes ``docs/benchmarks.md`` and its plots from the samples in ``docs/benchmarks/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.client import FIGURES, REQUESTS, TOKENS
from benchmarks.gateway.loadbench import ROOT
from benchmarks.gateway.processes import BenchmarkError
from benchmarks.report import plot
from benchmarks.report.beside import NAMES
from benchmarks.report.loads import LOADS
from benchmarks.report.rivals import CONFIGURED
from benchmarks.report.samples import Part

PAGE = ROOT / "docs" / "benchmarks.md"
Samples = Mapping[str, list[dict[str, float]]]
Measured = Mapping[str, Any]
"""``run`` (commit, load average), and ``samples`` and ``missing``, ``points``, or a ``row``."""

_HEAD = """\
# Benchmarks

Written by `make bench`; [benchmarking.md](benchmarking.md) says how each figure is made, and of the other instruments.
Every sample is in [benchmarks/](benchmarks/).

"""
_BESIDE = """\
## Beside others

    make bench ARGS="--only beside"

CPU is that of the whole process tree between client and worker, in µs a request, or of a stream a chunk; × nginx is the
median of the ratios within the rounds, with the lowest and the highest. Latency is that of the load generator, on the
same cores; *direct* has nothing in between. From Headrace's router an engine without an ops port gets at most 256
requests at a time: of 1,000 streams to one engine three quarters wait in the router's queue.
"""
_SCALE = """\
## How it grows

    make bench ARGS="--only scale"

One process of llm-api and one of the router. The exponent beside a line is its slope on logarithmic axes: cost ~ x^k.
0 is constant, 1 is linear. A stream's first events wait for each other where all of them begin at once, as here.
"""
_PROCESSES = """\
## Two processes

    make bench ARGS="--only processes"

Of llm-api, the router, nginx and LiteLLM; the Rust routers use all cores in one.
"""
_CLIENT = f"""\
## As a user measures it

    make bench ARGS="--only client"

NVIDIA's aiperf on `headrace up`, the demo model on this CPU: {REQUESTS} requests, about 100 tokens in, {TOKENS} out.
"""
_ELSEWHERE = """\
## Elsewhere

- Where requests go, with the real router over modelled fleets, beside published rules: [simulator.md](simulator.md)
- bert-worker beside sentence-transformers and infinity: `make bench-bert`, [workers/bert.md](workers/bert.md)
"""
_PLOTS = {
    "streams": ("Streams at a time: CPU of all", "streams, a token every 0.5 s, 6 each", "CPU seconds"),
    "prompts": ("Length of the prompt: CPU of a request", "KB", "µs"),
    "keys": ("Keys in use, a tenant each: CPU of a request", "keys", "µs"),
    "workers": ("Workers in one pool: CPU of a request", "workers", "µs"),
}


def write(parts: Mapping[str, Part], page: Path = PAGE) -> None:
    """``parts``: what was measured, by part; those that were not are left out. Plots go to a folder beside the page.

    Raises BenchmarkError where there is nothing.
    """
    if not parts:
        raise BenchmarkError("nothing was measured: there is nothing to write")
    plots = page.with_suffix("")
    plots.mkdir(exist_ok=True)
    about = next(iter(parts.values()))["about"]
    text = [_HEAD, "".join(f"- {name}: {value}\n" for name, value in about.items())]
    if "beside" in parts:
        text += [_BESIDE, _beside(parts["beside"]["measured"]), _configurations()]
    if "processes" in parts:
        text += [_PROCESSES, _beside(parts["processes"]["measured"])]
    if "scale" in parts:
        text += [_SCALE, _scale(parts["scale"]["measured"], plots)]
    if "client" in parts:
        text += [_CLIENT, _client(parts["client"]["measured"])]
    page.write_text("\n".join(part.rstrip("\n") + "\n" for part in [*text, _ELSEWHERE]), encoding="utf-8")


def _conditions(one: Measured) -> str:
    """Of each load and plot, as they may be of different runs."""
    before, after = one["run"]["load_average"]
    rounds = max((len(rows) for rows in one.get("samples", {}).values()), default=0)
    told = f"{rounds} interleaved round{'s' if rounds > 1 else ''}; " if rounds else ""
    return f"{told}commit {one['run']['commit']}; load average {before:.1f} before, {after:.1f} at the end."


def _beside(measured: Mapping[str, Measured]) -> str:
    lines = []
    for load in LOADS:
        if load.key in measured:
            one = measured[load.key]
            lines += [f"### {load.title}", "", *_table(one["samples"], load.unit), "", _conditions(one), ""]
            lines += [f"- not measured: {name}: {' '.join(why.split())[:300]}" for name, why in one["missing"].items()]
            lines += [""] if one["missing"] else []
    return "\n".join(lines)


def _table(samples: Samples, unit: str) -> list[str]:
    lines = [f"| | µs CPU a {unit} | × nginx | p50, ms | p99, ms | first byte p50, ms |", "|---|---|---|---|---|---|"]
    for name in NAMES:
        if name not in samples:
            continue
        cpu = "" if name == "direct" else f"{_median(samples[name], 'cpu'):,.1f}"
        cells = [cpu, "" if name in ("direct", "nginx") else _ratio(samples, name)]
        cells += [f"{_median(samples[name], what):,.2f}" for what in ("p50", "p99", "first")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _ratio(samples: Samples, name: str) -> str:
    """Within rounds that both came through."""
    nginx = {sample["round"]: sample["cpu"] for sample in samples.get("nginx", ())}
    ratios = sorted(one["cpu"] / nginx[one["round"]] for one in samples[name] if nginx.get(one["round"]))
    spread = f" ({ratios[0]:,.2f} – {ratios[-1]:,.2f})" if len(ratios) > 1 else ""
    return f"{median(ratios):,.2f}{spread}" if ratios else ""


def _median(samples: Sequence[Mapping[str, float]], what: str) -> float:
    return median(sample[what] for sample in samples)


def _configurations() -> str:
    lines = ["### Who they are", "", "| | configuration |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in CONFIGURED.items()]
    return "\n".join([*lines, "", "LiteLLM gets a tenth of the others' requests, as it takes too long for all.\n"])


def _scale(measured: Mapping[str, Measured], plots: Path) -> str:
    lines = []
    for name, (title, x_title, y_title) in _PLOTS.items():
        if name not in measured:
            continue
        points = measured[name]["points"]
        what = "total" if name == "streams" else "cpu"
        drawn = {"headrace": [(point["x"], point[what]) for point in points]}
        (plots / f"{name}.svg").write_text(plot.draw(title, x_title, y_title, drawn), encoding="utf-8")
        lines += [f"### {title}", "", f"![{title}]({plots.name}/{name}.svg)", "", *_points(name, points), ""]
        lines += [_conditions(measured[name]), ""]
    return "\n".join(lines)


def _points(name: str, points: Sequence[Mapping[str, float]]) -> list[str]:
    titles = {"cpu": "µs CPU a chunk" if name == "streams" else "µs CPU a request", "total": "CPU s in all"}
    titles |= {
        "first_p99": "first event p99, ms",
        "memory": "MiB more than idle",
        "idle": "router without load, ms CPU/s",
    }
    columns = [key for key in points[0] if key != "x"]
    lines = [f"| {_PLOTS[name][1].split(',')[0]} | {' | '.join(titles[key] for key in columns)} |"]
    lines.append("|---|" + "---|" * len(columns))
    return [*lines, *(f"| {p['x']:,.0f} | {' | '.join(f'{p[key]:,.1f}' for key in columns)} |" for p in points)]


def _client(measured: Mapping[str, Measured]) -> str:
    columns = [(name, p) for name in FIGURES for p in ("p50", "p99")]
    titles = [f"{FIGURES[name]}, {p}" for name, p in columns]
    lines = [f"| at a time | {' | '.join(titles)} | tokens a second |", "|---|" + "---|" * (len(columns) + 1)]
    for clients, one in measured.items():
        cells = [f"{one['row'][name][p]:,.1f}" for name, p in columns]
        lines.append(f"| {clients} | {' | '.join(cells)} | {one['row']['tokens']['a second']:,.1f} |")
    return "\n".join([*lines, "", _conditions(next(iter(measured.values())))])
