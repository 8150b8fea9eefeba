"""The shipped rules, and Prometheus' own tool to judge them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
FILES = sorted((MONITORING / "rules").glob("*.yaml"))


@dataclass(frozen=True)
class Rule:
    """A recording rule or an alert."""

    group: str
    name: str
    expr: str
    body: dict[str, Any]

    @property
    def alert(self) -> bool:
        return "alert" in self.body


def read(path: Path) -> list[Rule]:
    return [
        Rule(group["name"], rule.get("alert") or rule["record"], rule["expr"], rule)
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


RULES = [rule for path in FILES for rule in read(path)]
ALERTS = [rule for rule in RULES if rule.alert]


def promtool(*arguments: str, cwd: Path = ROOT) -> str:
    """What it says. Fails the test where it finds fault; skips where it is missing."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    done = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
