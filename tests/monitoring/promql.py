"""What an expression asks for, by a parser of PromQL."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser
from promql_parser import Expr, VectorSelector

_VARIABLE = re.compile(r"\[\$__\w+\]")
_OTHER = re.compile(r"\$\{?\w+(:\w+)?\}?")


def plain(expr: str) -> str:
    """Without Grafana's variables."""
    return _OTHER.sub("1", _VARIABLE.sub("[5m]", expr))


def selectors(expr: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics that it names, each with the labels that are matched. Raises ValueError where it makes no sense."""
    found: list[VectorSelector] = []

    def visit(node: Expr) -> None:
        if isinstance(node, VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expr), visit)
    for node in found:
        assert node.name, f"a selector without a name: {expr}"
        yield node.name, {matcher.name for matcher in node.matchers.matchers}
