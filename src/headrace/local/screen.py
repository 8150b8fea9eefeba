"""What a person sees: states live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headrace.local.child import Child, State

_STYLES = {
    State.STARTING: "yellow",
    State.READY: "green",
    State.UNREADY: "yellow",
    State.WAITING: "red",
    State.STOPPING: "yellow",
    State.STOPPED: "dim",
    State.FAILED: "bold red",
}
_QUIET = (State.STOPPED, State.READY)


class Screen:
    """Shows children. Use it as a context manager around their life."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._children: Sequence[Child] = ()
        self._shown: dict[str, State] = {}
        # Drawn only when something moves: a table that is drawn all the time lets nobody select text above it.
        self._live = Live(
            console=console, get_renderable=self._table, auto_refresh=False, redirect_stdout=False, transient=True
        )

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def follow(self, children: Sequence[Child]) -> None:
        self._children = children

    def changed(self, child: Child) -> None:
        """A child has changed: show it."""
        if self._console.is_terminal:
            self._live.refresh()
            return
        name = child.program.name
        if self._shown.get(name) is child.state:
            return
        self._shown[name] = child.state
        self._console.print(f"{name:<12} {child.state}{_tail(child)}", markup=False, highlight=False, soft_wrap=True)

    def tick(self) -> None:
        """To be called each second: states that do not last show how long they do."""
        if self._console.is_terminal and any(child.state not in _QUIET for child in self._children):
            self._live.refresh()

    def say(self, text: str = "", style: str = "") -> None:
        """A lasting line; never cut or wrapped, so that it can be copied."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def failure(self, child: Child) -> None:
        """The last lines of its log; where a table shows states, also what a line has said elsewhere."""
        if self._console.is_terminal:
            self.say(f"{child.program.name} {child.reason}", style="bold red")
        for line in child.log.tail():
            self.say(f"  {line}", style="dim")
        self.say(f"  (all of it: {child.log.path})", style="dim")

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for child in self._children:
            state = Text(str(child.state), style=_STYLES[child.state])
            detail = child.reason or (child.program.url if child.state is State.READY else "")
            elapsed = "" if child.state in _QUIET else f"{self._clock() - child.since:.0f} s"
            table.add_row(child.program.name, state, elapsed, Text(detail, style="dim", overflow="ellipsis"))
        return table


def _tail(child: Child) -> str:
    return f": {child.reason}" if child.reason else ""
