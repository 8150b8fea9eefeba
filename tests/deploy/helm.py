"""Helm's own library in a process of its own: its Go runtime and the engines' threads do not get on in one.

``python -m tests.deploy.helm CHART NAMESPACE`` reads values and writes the rendered files, or the error, as JSON lines.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class RenderError(Exception):
    """The values or the templates are wrong; Helm's own words."""


class Renderer:
    """Renders one chart."""

    def __init__(self, chart: Path, namespace: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.helm", str(chart), namespace],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._end)

    def render(self, values: dict[str, Any]) -> dict[str, str]:
        """Text by the template's name. Raises RenderError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(values) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"Helm's process ended with {self._process.wait()}"
        answer = json.loads(line)
        if "error" in answer:
            raise RenderError(answer["error"])
        files: dict[str, str] = answer["files"]
        return files

    def _end(self) -> None:
        with self._process:
            self._process.kill()


def main(folder: str, namespace: str) -> None:
    """The other side."""
    from helm_python import Chart, HelmError

    for line in sys.stdin:
        values = json.loads(line)
        chart = Chart.load(folder)
        try:
            chart.validate_schema(values)
            answer: dict[str, Any] = {"files": chart.render(values, name="llm", namespace=namespace)}
        except HelmError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
