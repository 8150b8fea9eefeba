"""Panels of lines as a small SVG file: what the report needs of plotting, and no more.

Rules keep their colours in all pictures (the palette of Okabe & Ito, which colour-blind readers can tell apart); ours
are drawn thicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#8c8c8c", "#d55e00", "#e69f00", "#cc79a7", "#000000")
_WIDTH, _HEIGHT = 250, 190
_LEFT, _TOP, _BOTTOM, _GAP = 50, 42, 30, 14
_LEGEND = 150


@dataclass(frozen=True)
class Panel:
    title: str
    lines: Mapping[str, Sequence[float]]
    """For each rule the values, one for each tick of the x axis."""


def draw(title: str, ticks: Sequence[str], x_title: str, panels: Sequence[Panel], *, log: bool = False) -> str:
    """One row of panels with a common y axis, from 0, or logarithmic."""
    values = [value for panel in panels for line in panel.lines.values() for value in line]
    scale, marks = _logarithmic(values) if log else _linear(values)
    width = _LEFT + len(panels) * (_WIDTH + _GAP) + _LEGEND
    height = _TOP + _HEIGHT + _BOTTOM + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(_LEFT, 16, title, size=13, weight="bold"),
    ]
    for number, panel in enumerate(panels):
        left = _LEFT + number * (_WIDTH + _GAP)
        parts += _panel(left, panel, ticks, scale, marks, labels=number == 0)
        parts.append(_text(left + _WIDTH / 2, height - 6, x_title, anchor="middle"))
    for number, rule in enumerate(panels[0].lines):
        y = _TOP + 8 + number * 18
        left = width - _LEGEND + 8
        parts.append(_line([(left, y), (left + 20, y)], number))
        parts.append(_text(left + 26, y + 4, rule))
    return "\n".join([*parts, "</svg>\n"])


def _panel(
    left: float,
    panel: Panel,
    ticks: Sequence[str],
    scale: Callable[[float], float],
    marks: Sequence[float],
    *,
    labels: bool,
) -> list[str]:
    parts = [_text(left + _WIDTH / 2, _TOP - 8, panel.title, anchor="middle")]
    for mark in marks:
        y = _y(scale(mark))
        parts.append(f'<line x1="{left}" x2="{left + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        if labels:
            parts.append(_text(left - 6, y + 4, f"{mark:g}", anchor="end"))
    step = _WIDTH / len(ticks)
    places = [left + step * (index + 0.5) for index in range(len(ticks))]
    parts += [_text(x, _TOP + _HEIGHT + 14, tick, anchor="middle") for x, tick in zip(places, ticks, strict=True)]
    for number, line in enumerate(panel.lines.values()):
        points = [(x, _y(scale(value))) for x, value in zip(places, line, strict=True)]
        parts.append(_line(points, number))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{_COLOURS[number % 8]}"/>' for x, y in points]
    return parts


def _linear(values: Sequence[float]) -> tuple[Callable[[float], float], list[float]]:
    top = max([*values, 1e-9]) * 1.05
    step = 10 ** math.floor(math.log10(top))
    step = next(step * part for part in (0.2, 0.5, 1.0, 2.0) if top / (step * part) <= 6)
    return lambda value: value / top, [step * number for number in range(int(top / step) + 1)]


def _logarithmic(values: Sequence[float]) -> tuple[Callable[[float], float], list[float]]:
    low, high = math.log10(max(1e-3, min(values))) - 0.1, math.log10(max(1e-3, *values)) + 0.1
    marks = [part * 10.0**power for power in range(-3, 7) for part in (1, 2, 5)]
    inside = [mark for mark in marks if low <= math.log10(mark) <= high]
    return lambda value: (math.log10(max(1e-3, value)) - low) / (high - low), inside


def _y(share: float) -> float:
    return _TOP + _HEIGHT * (1 - share)


def _line(points: Sequence[tuple[float, float]], number: int) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    width = 3 if number == 0 else 1.5
    return f'<polyline points="{path}" fill="none" stroke="{_COLOURS[number % 8]}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
