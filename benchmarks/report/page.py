"""Writes ``docs/benchmarks.md`` and its plots from the samples in ``docs/benchmarks/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gateway.loadbench import ROOT
from benchmarks.report import plot
from benchmarks.report.beside import NAMES
from benchmarks.report.loads import LOADS
from benchmarks.report.rivals import CONFIGURED

PAGE = ROOT / "docs" / "benchmarks.md"
FOLDER = ROOT / "docs" / "benchmarks"
Samples = Mapping[str, list[dict[str, float]]]

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
same two cores; *direct* has nothing in between. From Headrace's router an engine without an ops port gets at most 256
requests at a time: of 1,000 streams to one engine three quarters wait in the router's queue.
"""
_SCALE = """\
## How it grows

    make bench ARGS="--only scale"

One process of llm-api and one of the router. The exponent beside a line is its slope on logarithmic axes: cost ~ x^k.
0 is constant, 1 is linear. A stream's first events wait for each other where all of them begin at once, as here.
"""
_PLOTS = {
    "streams": ("Streams at a time: CPU of all", "streams, a token every 0.5 s, 6 each", "CPU seconds"),
    "prompts": ("Length of the prompt: CPU of a request", "KB", "µs"),
    "keys": ("Keys in use, a tenant each: CPU of a request", "keys", "µs"),
    "workers": ("Workers in one pool: CPU of a request", "workers", "µs"),
}


def write(parts: Mapping[str, Any]) -> None:
    """``parts``: what was measured, by part; those that were not are left out."""
    FOLDER.mkdir(exist_ok=True)
    text = [_HEAD, _machine(parts)]
    if "beside" in parts:
        text += [_BESIDE, _conditions(parts["beside"]), _beside(parts["beside"]), _configurations(parts["beside"])]
    if "processes" in parts:
        text.append('## Two processes\n\n    make bench ARGS="--only processes"\n\n')
        text += [_conditions(parts["processes"]), _beside(parts["processes"])]
    if "scale" in parts:
        text += [_SCALE, _conditions(parts["scale"]), _scale(parts["scale"]["points"])]
    text.append(
        "## Elsewhere\n\nbert-worker beside sentence-transformers and infinity: `make bench-bert`, "
        "[workers/bert.md](workers/bert.md).\n"
    )
    PAGE.write_text("\n".join(part.rstrip("\n") + "\n" for part in text), encoding="utf-8")


def _machine(parts: Mapping[str, Any]) -> str:
    about = next(iter(parts.values()))["about"]
    return "".join(f"- {name}: {value}\n" for name, value in about.items())


def _conditions(part: Mapping[str, Any]) -> str:
    before, after = part["load_average"]
    rounds = f"{part['rounds']} interleaved rounds; " if "rounds" in part else ""
    return f"{rounds}load average {before:.1f} before, {after:.1f} after (the benchmark is in the second).\n"


def _beside(part: Mapping[str, Any]) -> str:
    lines = []
    for load in LOADS:
        samples = part["loads"].get(load.key)
        if samples:
            lines += [f"### {load.title}", "", *_table(samples, load.unit), ""]
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
    if "nginx" not in samples:
        return ""
    pairs = zip(samples[name], samples["nginx"], strict=False)
    ratios = sorted(one["cpu"] / other["cpu"] for one, other in pairs)
    return f"{median(ratios):,.2f} ({ratios[0]:,.2f} – {ratios[-1]:,.2f})"


def _median(samples: Sequence[Mapping[str, float]], what: str) -> float:
    return median(sample[what] for sample in samples)


def _configurations(part: Mapping[str, Any]) -> str:
    lines = ["### Who they are", "", "| | configuration |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in CONFIGURED.items()]
    lines += ["", "LiteLLM gets a tenth of the requests of the others, as it takes too long for all.", ""]
    missing = part["missing"]
    lines += [f"- not measured: {name}: {' '.join(why.split())[:300]}" for name, why in missing.items()]
    return "\n".join(lines) + "\n"


def _scale(points: Mapping[str, list[dict[str, float]]]) -> str:
    lines = []
    for name, found in points.items():
        title, x_title, y_title = _PLOTS[name]
        what = "total" if name == "streams" else "cpu"
        drawn = {"headrace": [(point["x"], point[what]) for point in found]}
        (FOLDER / f"{name}.svg").write_text(plot.draw(title, x_title, y_title, drawn), encoding="utf-8")
        lines += [f"### {title}", "", f"![{title}](benchmarks/{name}.svg)", "", *_points(name, found), ""]
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


def path(part: str) -> Path:
    """Where a part's samples are."""
    return FOLDER / f"{part}.json"
