"""Grafana's dashboard model (schema 39, Grafana 10.4 and later), as far as these dashboards use it.

Source: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/. Units are ids of
@grafana/data, such as ``s``, ``percentunit`` (0 to 1), ``reqps``, ``bytes``, ``short``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 39
WIDTH = 24
"""Columns of Grafana's grid."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """A PromQL expression and what its lines are called; ``{{label}}`` is the label's value."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """``text`` says what is shown and what to do about it; ``steps`` are colours by the value they begin at."""

    title: str
    text: str
    unit: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    most: float | None = None
    steps: Sequence[tuple[float, str]] = ()
    base: str = "green"
    """Below the first step."""
    columns: Sequence[tuple[str, str]] = ()
    """Of a table: labels and their headings."""

    def json(self) -> Json:
        panel: Json = {
            "type": self.kind,
            "title": self.title,
            "description": self.text,
            "datasource": SOURCE,
            "targets": [self._target(place, query) for place, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
        }
        if self.kind == "table":
            panel["transformations"] = self._transformations()
        return panel

    def _target(self, place: int, query: Query) -> Json:
        instant = self.kind == "table"
        return {
            "refId": chr(ord("A") + place),
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": query.expr,
            "legendFormat": query.legend,
            "range": not instant,
            "instant": instant,
            "format": "table" if instant else "time_series",
            "exemplar": "_bucket" in query.expr and not instant,
        }

    def _defaults(self) -> Json:
        base = "text" if self.kind == "stat" and not self.steps else self.base
        steps: list[Json] = [{"color": base, "value": None}]
        steps += [{"color": color, "value": value} for value, color in self.steps]
        defaults: Json = {
            "unit": self.unit,
            "color": {"mode": "thresholds" if self.kind == "stat" else "palette-classic"},
            "thresholds": {"mode": "absolute", "steps": steps},
        }
        if self.kind == "timeseries":
            defaults["min"] = 0
        if self.most is not None:
            defaults["max"] = self.most
        if self.kind == "timeseries":
            defaults["custom"] = {
                "drawStyle": "line",
                "lineInterpolation": "linear",
                "lineWidth": 1,
                "fillOpacity": 40 if self.stacked else 8,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "line" if self.steps else "off"},
            }
        return defaults

    def _options(self) -> Json:
        if self.kind == "stat":
            return {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "colorMode": "value",
                "graphMode": "area",
                "justifyMode": "auto",
                "orientation": "auto",
                "textMode": "auto",
            }
        if self.kind == "table":
            return {"showHeader": True, "cellHeight": "sm"}
        return {
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "calcs": ["lastNotNull", "max"],
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }

    def _transformations(self) -> list[Json]:
        """One row a label set, a column a query, named by its legend."""
        names = dict(self.columns)
        for place, query in enumerate(self.queries):
            names[f"Value #{chr(ord('A') + place)}" if len(self.queries) > 1 else "Value"] = query.legend
        organize = {"excludeByName": {"Time": True}, "renameByName": names, "indexByName": {}}
        return [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]


def stat(
    title: str, text: str, unit: str, query: Query, steps: Sequence[tuple[float, str]] = (), base: str = "green"
) -> Panel:
    """One number, and its recent course."""
    return Panel(title, text, unit, [query], kind="stat", width=3, height=4, steps=steps, base=base)


@dataclass(frozen=True)
class Row:
    """A heading, and the panels below it."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard: the values of ``label`` in the series of ``selector``, or all."""

    name: str
    label: str
    selector: str
    title: str

    def json(self) -> Json:
        query = f"label_values({self.selector}, {self.label})"
        return {
            "type": "query",
            "name": self.name,
            "label": self.title,
            "datasource": SOURCE,
            "definition": query,
            "query": {"query": query, "refId": "StandardVariableQuery"},
            "refresh": 2,
            "regex": "",
            "sort": 1,
            "hide": 0,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",  # also what lacks the label: outside of a cluster there are no namespaces
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "options": [],
        }


@dataclass(frozen=True)
class Dashboard:
    """``uid`` is its lasting name, in its address and as its file's name."""

    uid: str
    title: str
    text: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = field(default=())

    def json(self) -> Json:
        return {
            "uid": self.uid,
            "title": f"Headrace / {self.title}",
            "description": self.text,
            "tags": ["headrace"],
            "schemaVersion": SCHEMA,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "",
            "links": [_LINKS],
            "annotations": {"list": [_ALERTS]},
            "templating": {"list": [_SOURCE_CHOICE, *(variable.json() for variable in self.variables)]},
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        """In reading order: a row is filled from the left, and a new line begins where a panel does not fit."""
        panels: list[Json] = []
        y = 0
        for row in self.rows:
            panels.append({"type": "row", "title": row.title, "collapsed": False, "panels": []})
            _place(panels, 0, y, WIDTH, 1)
            x, y, line = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > WIDTH:
                    x, y, line = 0, y + line, 0
                panels.append(panel.json())
                _place(panels, x, y, panel.width, panel.height)
                x, line = x + panel.width, max(line, panel.height)
            y += line
        return panels


def _place(panels: list[Json], x: int, y: int, width: int, height: int) -> None:
    panels[-1]["id"] = len(panels)
    panels[-1]["gridPos"] = {"x": x, "y": y, "w": width, "h": height}


_SOURCE_CHOICE: Json = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "query": "prometheus",
    "regex": "",
    "refresh": 1,
    "hide": 0,
    "multi": False,
    "includeAll": False,
    "options": [],
}

_LINKS: Json = {
    "type": "dashboards",
    "title": "Headrace",
    "tags": ["headrace"],
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
    "icon": "external link",
    "targetBlank": False,
    "tooltip": "",
    "url": "",
}

_ALERTS: Json = {
    "name": "Alerts",
    "datasource": SOURCE,
    "enable": True,
    "hide": False,
    "iconColor": "red",
    "expr": 'ALERTS{alertstate="firing", alertname=~"(Llm|Gpu).*"}',
    "titleFormat": "{{alertname}}",
    "textFormat": "{{model}} {{pod}}",
}
