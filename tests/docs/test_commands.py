"""The commands that the documentation names are there, with the options that it gives them."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.exceptions import TyperException

from headrace.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINES = re.compile(r"^ {4}(.*?)(?:\s+#.*)?$|`([^`\n]+)`", re.MULTILINE)
STARTS = re.compile(r"(?:^|[;&|] )(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?=(headrace|make|pytest|python -m) [a-z])")


def commands(program: str) -> list[str]:
    """Whole commands of this program, without what is before and behind them."""
    found = set()
    for page in PAGES:
        for line in LINES.findall(page.read_text(encoding="utf-8")):
            text = "".join(line).strip()
            starts = [match.end() for match in STARTS.finditer(text) if match[1] == program]
            found |= {re.split(r" *(?: \\$| [|&;]| #|…|\.\.\.|[<\[])", text[start:])[0].strip() for start in starts}
    return sorted(found)


def complaint(words: list[str]) -> str:
    """What the command line says of them; that something is missing is no fault of a page that names a command."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return f"no command {words[0]}" if not words[0].startswith("-") else ""
        command, words = command.commands[words[0]], words[1:]
    if hasattr(command, "commands"):
        return ""
    try:
        command.make_context("headrace", list(words))
    except TyperException as error:
        return "" if type(error).__name__ == "MissingParameter" else str(error)
    return ""


@pytest.mark.parametrize("line", commands("headrace"))
def test_the_command_line_takes_it(line: str) -> None:
    words = [word for part in shlex.split(line)[1:] for word in part.split("|")[:1]]
    assert complaint(words) == ""


def test_what_the_command_line_does_not_take_is_told() -> None:
    assert "no-open" in complaint(["up", "--no-open"])
    assert complaint(["key", "list"]) == "no command key"
    assert complaint(["keys", "create"]) == ""


@pytest.mark.parametrize("line", commands("make"))
def test_there_is_such_a_target(line: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert line.split()[1] in targets


@pytest.mark.parametrize("line", commands("pytest"))
def test_there_are_such_tests(line: str) -> None:
    words = shlex.split(line)
    paths = [ROOT / word for word in words if word.startswith("tests")]
    assert paths
    assert all(path.exists() for path in paths)
    chosen = words[words.index("-k") + 1] if "-k" in words else ""
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    names = "\n".join(f"{file} {file.read_text(encoding='utf-8')}" for file in files)
    assert all(word in names for word in re.findall(r"\w+", chosen) if word not in {"and", "or", "not"})


@pytest.mark.parametrize("line", commands("python -m"))
def test_there_is_such_a_module(line: str) -> None:
    assert find_spec(line.split()[2]) is not None
