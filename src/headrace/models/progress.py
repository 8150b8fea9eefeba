"""A progress bar that watches a folder grow, so that it fits whatever writes there (pip, a hub client, a copy)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from headrace.models.store import folder_size, show_size

_PERIOD = 0.2
"""Seconds between two looks."""


@contextmanager
def watch(console: Console, label: str, folder: Path, total: int) -> Iterator[None]:
    """Show how much of ``total`` bytes is in ``folder`` until the block ends; one plain line where nobody looks on."""
    if not console.is_terminal:
        console.print(f"{label}: fetching {show_size(total)}", soft_wrap=True)
        yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    stop = threading.Event()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)

        def look() -> None:
            while not stop.wait(_PERIOD):
                bar.update(task, completed=min(folder_size(folder), total))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
