"""What --help promises: the options that scripts rely on, each with a line that says what it is."""

from __future__ import annotations

import re

import pytest

from headrace import __version__
from tests.cli.conftest import Run

SERVICE = {"--port", "--ops-port", "--host", "--log-level", "--config"}
STORE = {"--config", "--database"}

OPTIONS: dict[str, set[str]] = {
    "up": {"--port", "--web-port", "--host", "--web", "--no-web", "--models", "--config"},
    "api": SERVICE | {"--router", "--processes"},
    "router": SERVICE | {"--worker", "--processes", "--profile"},
    "router replay": {"--profile", "--config"},
    "worker cpu": SERVICE | {"--model", "--name"},
    "worker bert": SERVICE | {"--model", "--name"},
    "models pull": {"--models"},
    "models list": {"--models"},
    "models verify": {"--models"},
    "keys create": STORE | {"--tenant", "--model", "--admin", "--days"},
    "keys list": STORE,
    "keys rotate": STORE | {"--overlap-hours"},
    "keys revoke": STORE,
    "tenants create": STORE,
    "tenants list": STORE,
    "db upgrade": STORE,
}


@pytest.mark.parametrize("command", OPTIONS)
def test_options_that_scripts_rely_on(run: Run, command: str) -> None:
    outcome = run(*command.split(), "--help")
    assert outcome.code == 0
    found = set(re.findall(r"(?<![\w-])--[a-z-]+", outcome.out))
    assert OPTIONS[command] <= found, OPTIONS[command] - found


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_is_explained(run: Run, command: str) -> None:
    lines = run(*command.split(), "-h").out.splitlines()
    options = [line.strip("│ ") for line in lines if line.strip("│* ").startswith("--")]
    assert options
    for line in options:
        words = re.sub(r"(--?[\w-]+)|<[^>]*>|\[[^\]]*\]", "", line).split()
        assert len(words) >= 2, line


@pytest.mark.parametrize(
    ("group", "commands"),
    [
        ("", {"up", "api", "router", "worker", "models", "keys", "tenants", "db"}),
        ("worker", {"cpu", "bert"}),
        ("models", {"pull", "list", "verify"}),
        ("keys", {"create", "list", "rotate", "revoke"}),
    ],
)
def test_groups_list_their_commands(run: Run, group: str, commands: set[str]) -> None:
    outcome = run(*group.split(), "--help")
    assert outcome.code == 0
    assert commands <= set(re.findall(r"^│ ([a-z]+) ", outcome.out, re.MULTILINE))


def test_version(run: Run) -> None:
    assert run("--version").out == f"headrace {__version__}\n"


@pytest.mark.parametrize(
    "wrong", [["nothing"], ["router", "--nothing"], ["router", "--port", "abc"], ["keys", "create"]]
)
def test_wrong_usage_is_2(run: Run, wrong: list[str]) -> None:
    outcome = run(*wrong)
    assert outcome.code == 2
    assert outcome.err.startswith("Usage: ")
