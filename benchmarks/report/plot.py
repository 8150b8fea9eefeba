"""Line plots as SVG, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Line = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 680, 380, 70, 34, 46, 150
_COLOURS = ("#0b6e99", "#d1495b", "#2a9d5c", "#8f5fbf", "#c77d0a", "#555555", "#1b998b")


def slope(line: Line) -> float:
    """The exponent k of y ~ x**k, by least squares over the logarithms: 0 is constant, 1 linear."""
    points = [(math.log(x), math.log(y)) for x, y in line if x > 0 and y > 0]
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def draw(title: str, x_title: str, y_title: str, lines: Mapping[str, Line]) -> str:
    """Both axes are logarithmic; each line has its name at the side, with its exponent."""
    xs = [x for line in lines.values() for x, _ in line]
    ys = [y for line in lines.values() for _, y in line if y > 0]
    x_axis, y_axis = _Axis(min(xs), max(xs)), _Axis(min(ys), max(ys))
    body = [_text(_LEFT, 20, title, "font-size:15px;font-weight:600")]
    body.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x_title, "text-anchor:middle"))
    body.append(f'<g transform="translate(14 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)">')
    body.append(_text(0, 0, y_title, "text-anchor:middle") + "</g>")
    for tick in x_axis.ticks():
        at = _x(x_axis, tick)
        body.append(f'<path d="M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" class="g"/>')
        body.append(_text(at, _HEIGHT - _BOTTOM + 16, _number(tick), "text-anchor:middle"))
    for tick in y_axis.ticks():
        at = _y(y_axis, tick)
        body.append(f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" class="g"/>')
        body.append(_text(_LEFT - 6, at + 4, _number(tick), "text-anchor:end"))
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(_x(x_axis, x), _y(y_axis, y)) for x, y in line if y > 0]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        body.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        label = f"{name} (x^{slope(line):.2f})" if len(line) > 1 else name
        body.append(_text(_WIDTH - _RIGHT + 8, _TOP + 14 + 18 * number, label, f"fill:{colour}"))
    style = "text{font:12px sans-serif;fill:#333}.g{stroke:#ddd}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<style>{style}</style><rect width='100%' height='100%' fill='#fff'/>{''.join(body)}</svg>\n"
    )


class _Axis:
    """From the decade's step below the lowest value to that above the highest."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = _step(low, up=False), _step(high, up=True)
        if self.low == self.high:
            self.high *= 2

    def at(self, value: float) -> float:
        """From 0 to 1."""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        decades = range(math.floor(math.log10(self.low)) - 1, math.ceil(math.log10(self.high)) + 1)
        ticks = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
        found = [tick for tick in ticks if self.low * 0.999 <= tick <= self.high * 1.001]
        return found if len(found) < 10 else [tick for tick in found if f"{tick:e}"[0] == "1"]


def _step(value: float, *, up: bool) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    steps = [decade * factor for factor in (1, 2, 5, 10)]
    return next(s for s in steps if s >= value * 0.999) if up else [s for s in steps if s <= value * 1.001][-1]


def _x(axis: _Axis, value: float) -> float:
    return _LEFT + axis.at(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: _Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.at(value) * (_HEIGHT - _TOP - _BOTTOM)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(text)}</text>'
