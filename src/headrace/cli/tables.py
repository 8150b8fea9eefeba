"""Tables that lose nothing: on a terminal what is too long is folded; elsewhere each row is one line."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_WIDE = 1000
"""Columns where no terminal says how many there are; a table takes what it needs of them."""


def table(*columns: str) -> Table:
    made = Table(box=None)
    for name in columns:
        made.add_column(name, overflow="fold")
    return made


def wide() -> Console:
    """As wide as the terminal; elsewhere as wide as need be."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDE)


def show(made: Table) -> None:
    wide().print(made)
