from __future__ import annotations

import asyncio
import io

from rich.console import Console

from headrace.local.child import State
from headrace.local.screen import Screen
from tests.local.yard import Yard


def screen(*, terminal: bool) -> tuple[Screen, io.StringIO]:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100, color_system=None)
    return Screen(console), output


async def test_lines_where_there_is_no_terminal(yard: Yard) -> None:
    shown, output = screen(terminal=False)
    child = yard.child(yard.script("router", "print('bad [worker]'); raise SystemExit(2)"))
    yard.listener = lambda: shown.changed(child)
    with shown:
        shown.follow([child])
        await asyncio.wait_for(child.run(), 30)
        shown.failure(child)
    text = output.getvalue()
    assert "router       starting\n" in text
    assert "router       restarting: ended with exit code 2; again in 0.02 s\n" in text
    assert "router       failed: ended with exit code 2\n" in text
    assert "  bad [worker]\n" in text
    assert "\x1b" not in text


async def test_a_table_on_a_terminal(yard: Yard) -> None:
    shown, output = screen(terminal=True)
    child = yard.child(yard.service("router"))
    with shown:
        shown.follow([child])
        shown.changed(child)
        shown.say("x" * 150)
    text = output.getvalue()
    assert "router  starting  0 s" in text
    assert "x" * 150 in text


async def test_a_terminal_is_left_in_peace_when_nothing_moves(yard: Yard) -> None:
    shown, output = screen(terminal=True)
    child = yard.child(yard.service("router"))
    with shown:
        shown.follow([child])
        shown.tick()
        drawn = output.getvalue()
        assert "starting" in drawn
        child.state = State.READY
        shown.tick()
        assert output.getvalue() == drawn


async def test_a_failure_on_a_terminal_has_its_reason(yard: Yard) -> None:
    shown, output = screen(terminal=True)
    child = yard.child(yard.script("router", "print('bad luck'); raise SystemExit(2)"))
    await asyncio.wait_for(child.run(), 30)
    shown.failure(child)
    assert output.getvalue().splitlines()[:2] == ["router ended with exit code 2", "  bad luck"]
