"""The report: tables and pictures of what all rules make of the same requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from headrace.errors import ConfigError
from headrace.simulate import rules
from headrace.simulate.outcome import NEVER
from headrace.simulate.scenario import SCENARIOS
from headrace.simulate.suite import COMPARED, FLEETS, ROUTERS, Result, mean
from headrace.simulate.svg import Panel, draw

BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"
_FOLDER = Path("images") / "simulator"


def seconds(value: float) -> str:
    return "never" if value >= NEVER / 10 else f"{value:.2f}"


def percent(value: float) -> str:
    return f"{value * 100:.1f}"


FIGURES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "ttft_p50": ("first token p50, s", seconds),
    "ttft_p99": ("first token p99, s", seconds),
    "goodput": ("goodput, %", percent),
    "failed": ("failed, %", percent),
    "hit_rate": ("prompt cached, %", percent),
    "fairness": ("Jain's fairness", lambda value: f"{value:.3f}"),
    "imbalance": ("max ÷ mean load", lambda value: f"{value:.2f}"),
}
_PLOTTED = ("ttft_p50", "ttft_p99", "goodput", "hit_rate", "fairness", "imbalance")
_PARTS = (
    ("scenarios", "8 workers, one router, near saturation (assumed GPU)"),
    ("light", "8 workers, one router, half of that load (assumed GPU)"),
    ("calibrated", "8 workers, one router (cpu-worker as measured)"),
)


def write(results: Sequence[Result], page: Path) -> list[Path]:
    """Put the tables into ``page``, between its marks, and pictures beside it. Returns what was written.

    Raises ConfigError for a page without marks.
    """
    text = page.read_text("utf-8") if page.exists() else f"{BEGIN}\n{END}\n"
    if BEGIN not in text or END not in text:
        raise ConfigError(f"{page}: there is no place for the report; put the lines {BEGIN} and {END} where it belongs")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    folder = page.parent / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    written = [page]
    for figure, picture in pictures(results):
        path = folder / f"{figure}.svg"
        path.write_text(picture, "utf-8")
        written.append(path)
    page.write_text(f"{before}{BEGIN}\n\n{tables(results)}\n{END}{after}", "utf-8")
    return written


def tables(results: Sequence[Result]) -> str:
    """All of them, in Markdown."""
    parts = []
    for group, title in _PARTS:
        parts += [f"### {title}\n", _losses(results, group)]
        parts += [_scenario_table(results, group, figure) for figure in ("ttft_p99", "goodput")]
        parts.append("<details><summary>the other figures</summary>\n")
        parts += [
            _scenario_table(results, group, figure) for figure in FIGURES if figure not in ("ttft_p99", "goodput")
        ]
        parts.append("</details>\n")
    parts.append("### 8, 64 and 512 workers; 1, 4 and 16 routers (the mixed scenario, assumed GPU)\n")
    for figure, (title, _) in FIGURES.items():
        picture = f"![{title}]({_FOLDER / f'{figure}.svg'})\n" if figure in _PLOTTED else ""
        parts += [picture, _size_table(results, figure)]
    return "\n".join(part for part in parts if part)


def pictures(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """Each figure over the number of routers, a panel for each size of the fleet."""
    ticks = [str(count) for count in ROUTERS]
    for figure in _PLOTTED:
        panels = [
            Panel(
                f"{workers} workers",
                {
                    rule: [
                        mean(_pick(results, group="sizes", rule=rule, workers=workers, routers=routers), figure)
                        for routers in ROUTERS
                    ]
                    for rule in COMPARED
                },
            )
            for workers in FLEETS
        ]
        yield figure, draw(FIGURES[figure][0], ticks, "routers", panels, log=figure.startswith("ttft"))


def _scenario_table(results: Sequence[Result], group: str, figure: str) -> str:
    title, show = FIGURES[figure]
    rows = [
        (rule, [show(mean(_pick(results, group=group, rule=rule, scenario=name), figure)) for name in SCENARIOS])
        for rule in (rules.NAMES if group == "scenarios" else COMPARED)
    ]
    return _markdown(title, list(SCENARIOS), rows)


def _size_table(results: Sequence[Result], figure: str) -> str:
    title, show = FIGURES[figure]
    columns = [(workers, routers) for workers in FLEETS for routers in ROUTERS]
    rows = [
        (
            rule,
            [
                show(mean(_pick(results, group="sizes", rule=rule, workers=workers, routers=routers), figure))
                for workers, routers in columns
            ],
        )
        for rule in COMPARED
    ]
    return _markdown(title, [f"{workers} × {routers}" for workers, routers in columns], rows)


def _losses(results: Sequence[Result], group: str) -> str:
    """Where the default profile is not the best of all, by more than a hundredth."""
    found = []
    for scenario in SCENARIOS:
        for figure, sign in (("ttft_p99", 1), ("goodput", -1)):
            figures = {
                rule: mean(_pick(results, group=group, rule=rule, scenario=scenario), figure) for rule in COMPARED
            }
            ours = figures.pop(rules.OURS[0])
            best = min(figures, key=lambda rule: sign * figures[rule])
            if sign * (ours - figures[best]) > 0.01 * figures[best]:
                title, show = FIGURES[figure]
                found.append(f"{scenario}, {title}: {best} {show(figures[best])}, ours {show(ours)}")
    return f"Behind the best of the others: {'; '.join(found) or 'nowhere'}.\n"


def _pick(results: Sequence[Result], **wanted: object) -> list[Result]:
    return [result for result in results if all(getattr(result.key, name) == value for name, value in wanted.items())]


def _markdown(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    lines = [f"| {title} | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows]
    return "\n".join(lines) + "\n"
