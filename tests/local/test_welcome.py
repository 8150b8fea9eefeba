from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.local import welcome
from headrace.local.keys import FirstKey, Origin
from headrace.local.stack import Stack

STACK = Stack((), "http://127.0.0.1:8000", "http://127.0.0.1:8080", "it's small", "", 0)
MADE = FirstKey(Origin.MADE, "hr-text")
GIVEN = FirstKey(Origin.GIVEN)
EARLIER = FirstKey(Origin.EARLIER)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (MADE, "hr-text"),
        (GIVEN, "HEADRACE_BOOTSTRAP_KEY."),
        (EARLIER, "headrace keys create"),
        (FirstKey(Origin.EARLIER, ignored=True), "HEADRACE_BOOTSTRAP_KEY is ignored"),
    ],
)
def test_the_key_is_told(key: FirstKey, words: str) -> None:
    assert words in welcome.key_line(key, "headrace keys create NAME")


@pytest.mark.parametrize(
    ("program", "home", "command"),
    [
        (".venv/bin/headrace", "/a home", "HEADRACE_HOME='/a home' .venv/bin/headrace keys create NAME"),
        ("/usr/bin/headrace", "~/.headrace", "/usr/bin/headrace keys create NAME"),
        ("headrace/__main__.py", "~/.headrace", "headrace keys create NAME"),
    ],
)
def test_another_key_is_made_on_the_same_state(program: str, home: str, command: str) -> None:
    assert welcome.another_key(program, Path(home).expanduser()) == command


@pytest.mark.parametrize(
    ("key", "bearer"), [(MADE, "hr-text"), (GIVEN, "$HEADRACE_BOOTSTRAP_KEY"), (EARLIER, "$HEADRACE_KEY")]
)
def test_the_line_to_try_is_one_for_a_shell(key: FirstKey, bearer: str) -> None:
    words = shlex.split(welcome.curl(STACK, key))
    assert words[:3] == ["curl", "-N", "http://127.0.0.1:8000/v1/chat/completions"]
    assert f"Authorization: Bearer {bearer}" in words
    body = json.loads(words[words.index("-d") + 1])
    assert (body["model"], body["stream"]) == ("it's small", True)


def test_all_addresses_are_told() -> None:
    link = "http://127.0.0.1:8080/#sign-in=token"
    text = welcome.ready(STACK, EARLIER, link, 3.25, Path("/home/logs"))
    for words in (
        f" {link}  (signed in; once, within 15 minutes)\n",
        "(3.2 s)",
        "http://127.0.0.1:8080\n",
        "http://127.0.0.1:8000/v1\n",
        "/home/logs",
        "in HEADRACE_KEY:",
    ):
        assert words in text


def test_prometheus_is_told_where_it_runs() -> None:
    stack = replace(STACK, monitoring="http://127.0.0.1:9090")
    assert "Prometheus http://127.0.0.1:9090\n" in welcome.ready(stack, EARLIER, "", 1.0, Path("logs"))
    assert "Prometheus" not in welcome.ready(STACK, EARLIER, "", 1.0, Path("logs"))


def test_what_does_not_run_is_not_told() -> None:
    text = welcome.ready(Stack((), "http://127.0.0.1:8000", "", "", "", 0), MADE, "", 1.0, Path("logs"))
    assert "Page" not in text
    assert "curl" not in text
