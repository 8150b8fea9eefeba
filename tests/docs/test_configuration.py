"""docs/configuration.md is what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "configuration.py"


def test_page_is_current() -> None:
    script = runpy.run_path(str(SCRIPT))
    page = script["PAGE"].read_text(encoding="utf-8")
    assert page == script["render"](), "run: python scripts/configuration.py"


def test_every_setting_is_described() -> None:
    script = runpy.run_path(str(SCRIPT))
    undescribed = [
        f"{kind.section}.{name}"
        for kind in script["config"].SECTIONS
        for name, field in kind.model_fields.items()
        if not field.description
    ]
    assert not undescribed
