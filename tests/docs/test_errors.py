"""docs/errors.md explains every code that there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CODE = re.compile(r'(?:\bcode=|default_code = (?:\d+, "\w+", )?)"([a-z_]+)"')


def test_every_code_is_explained() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "headrace").rglob("*.py")]
    codes = {code for text in sources for code in _CODE.findall(text)}
    assert len(codes) > 30
    assert not {code for code in codes if f"`{code}`" not in page}
