from __future__ import annotations

import io
import time
from pathlib import Path

from rich.console import Console

from headrace.models.progress import watch
from headrace.models.store import folder_size


def test_one_line_where_nobody_looks_on(tmp_path: Path, console: Console, output: io.StringIO) -> None:
    with watch(console, "tiny", tmp_path, 2_000_000):
        pass
    assert output.getvalue() == "tiny: fetching 2.0 MB\n"


def test_terminal_sees_the_folder_grow(tmp_path: Path) -> None:
    screen = io.StringIO()
    with watch(Console(file=screen, force_terminal=True, width=120), "tiny", tmp_path, 2_000_000):
        (tmp_path / "half").write_bytes(bytes(1_000_000))
        deadline = time.monotonic() + 30
        while "1.0/2.0 MB" not in screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "1.0/2.0 MB" in screen.getvalue()


def test_size_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"123")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert folder_size(tmp_path) == 3
