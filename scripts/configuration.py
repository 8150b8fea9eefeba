"""Writes docs/configuration.md from the settings in the code: python scripts/configuration.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from headrace import config
from headrace.sources import Settings

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

_HEAD = """# Configuration

<!-- Written by scripts/configuration.py from src/headrace/config.py. -->

Every setting can be given in three ways; a later one wins over an earlier one:

1. in one YAML file that all services may share, given with `--config`: a section for each service;
2. in the environment: `HEADRACE_<SECTION>_<SETTING>`, lists and mappings as JSON;
3. as a flag of the command, where there is one (`headrace <command> --help`).

A key that does not exist, a value of the wrong type or a number out of range is refused at the start, with the file,
the key and what is allowed. Nothing else reads the environment, but for these:

| variable | meaning |
|---|---|
| `HEADRACE_HOME` | where all state lives; `~/.headrace`, for the make targets `.headrace/` in the checkout |
| `HEADRACE_BOOTSTRAP_KEY` | the first API key, instead of a random one |

```yaml
api:
  port: 8000
  router: ["http://router-1:8001", "http://router-2:8001"]
router:
  workers: ["smollm2-135m=http://cpu-worker:8040,ops=http://cpu-worker:9140"]
```
"""


def render() -> str:
    return _HEAD + "".join(_section(kind) for kind in config.SECTIONS)


def _section(kind: type[Settings]) -> str:
    title = (kind.__doc__ or kind.section).strip().splitlines()[0].rstrip(".")
    rows = "".join(_row(kind, name, field) for name, field in kind.model_fields.items())
    return f"\n## `{kind.section}:` {title}\n\n| setting | default | meaning |\n|---|---|---|\n{rows}"


def _row(kind: type[Settings], name: str, field: FieldInfo) -> str:
    return f"| `{name}` | {_default(field)} | {field.description or ''}{_choices(field)} |\n"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ("", [], {}):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _choices(field: FieldInfo) -> str:
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    return ""


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
