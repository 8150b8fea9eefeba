"""The settings themselves: none that leaks, and none that nobody reads."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import headrace
from headrace import config
from headrace.config import home
from headrace.sources import Settings

SOURCE = Path(headrace.__file__).parent
READERS = {"api": ["api"], "router": ["router"], "up": ["local"]}
"""Packages that are given a section's settings, besides ``service``; for the others ``workers``."""


def test_every_secret_is_marked_as_one() -> None:
    telling = re.compile(r"secret|pepper|password|token$|database|redis")
    shown = [
        f"{kind.section}.{name}"
        for kind in config.SECTIONS
        for name, field in kind.model_fields.items()
        if telling.search(name) and field.annotation is str and field.repr
    ]
    assert not shown


def test_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", "~/x")
    assert home() == Path("~/x").expanduser()
    monkeypatch.delenv("HEADRACE_HOME")
    assert home() == Path("~/.headrace").expanduser()


def read_in(package: str) -> set[str]:
    """What is read of anything that is called settings, such as ``self._settings.port``."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in (SOURCE / package).rglob("*.py"))
    reads = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {node.attr for node in reads if ast.unparse(node.value).rpartition(".")[2].lstrip("_") == "settings"}


@pytest.mark.parametrize("kind", config.SECTIONS)
def test_every_setting_is_read(kind: type[Settings]) -> None:
    read = set[str]().union(*map(read_in, ["service", *READERS.get(kind.section, ["workers"])]))
    assert kind.model_fields.keys() <= read
