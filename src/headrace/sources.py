"""Where settings come from: a file, the environment, flags; and what is said of a wrong one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from headrace.errors import ConfigError


class Settings(BaseSettings):
    """Base of the sections. Unknown keys are refused: a typo must not become a default."""

    section: ClassVar[str]
    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_nested_delimiter="__")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # ``build`` merges the sources, so that an error can name where a value came from


S = TypeVar("S", bound=Settings)


def build(
    kind: type[S], sections: Sequence[type[Settings]], *, file: Path | None, flags: Mapping[str, Any], env: bool
) -> S:
    """Flags over environment over file over defaults. ``sections`` are all that the file may hold.

    Raises ConfigError, which names the source, the key and what is allowed.
    """
    given: list[tuple[str, dict[str, Any]]] = []
    if file is not None:
        given.append((str(file), _read(file, sections).get(kind.section) or {}))
    if env:
        given.append(("environment", _environment(kind)))
    given.append(("command line", {key: value for key, value in flags.items() if value is not None}))
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for source, values in given:
        if not isinstance(values, dict):
            raise ConfigError(f"{source}: {kind.section} must be a mapping of settings")
        named = {str(key): value for key, value in values.items()}
        merged.update(named)
        origin.update(dict.fromkeys(named, source))
    try:
        return kind(**merged)
    except ValidationError as error:
        raise ConfigError(_explain(kind, error, origin)) from None


def _prefix(kind: type[Settings]) -> str:
    return f"HEADRACE_{kind.section.upper()}_"


def _environment(kind: type[Settings]) -> dict[str, Any]:
    try:
        return EnvSettingsSource(kind, env_prefix=_prefix(kind))()
    except SettingsError:
        wrong = next(name for name in kind.model_fields if not _is_readable(kind, name))
        raise ConfigError(
            f'environment: {_prefix(kind)}{wrong.upper()}: must be JSON, such as ["first", "second"] for a list'
        ) from None


def _is_readable(kind: type[Settings], name: str) -> bool:
    """Whether the environment's value of a setting that is a list or a mapping, if any, is JSON."""
    if get_origin(kind.model_fields[name].annotation) not in {list, dict}:
        return True
    try:
        json.loads(os.environ.get(f"{_prefix(kind)}{name.upper()}", "[]"))
    except ValueError:
        return False
    return True


def _read(file: Path, sections: Sequence[type[Settings]]) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8: {error.reason}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not valid YAML: {_yaml_problem(error)}") from None
    except (ValueError, LookupError, AttributeError):  # PyYAML's, for what only looks like a value (2026-99-99)
        raise ConfigError(f"{file}: holds a date, a number or a tag that cannot be read; quote it") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: must hold sections such as api:, not {type(document).__name__}")
    known = {section.section for section in sections}
    unknown = [str(key) for key in document if key not in known]
    if unknown:
        raise ConfigError(f"{file}: unknown section {unknown[0]!r}; sections are {', '.join(sorted(known))}")
    return document


def _explain(kind: type[Settings], error: ValidationError, origin: Mapping[str, str]) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        top = str(item["loc"][0]) if item["loc"] else ""
        where = origin.get(top, "settings")
        name = f"{_prefix(kind)}{key.upper()}" if where == "environment" else f"{kind.section}.{key}"
        lines.append(f"{where}: {name}: {_reason(kind, top, item)}")
    return "\n".join(lines)


def _reason(kind: type[Settings], key: str, item: Any) -> str:
    if item["type"] == "extra_forbidden" and len(item["loc"]) > 1:
        return "unknown setting"
    if item["type"] == "extra_forbidden":
        return f"unknown setting; allowed are {', '.join(sorted(kind.model_fields))}"
    if item["type"] == "missing":
        return "is required"
    field = kind.model_fields.get(key)
    allowed = get_args(field.annotation) if field is not None and item["type"] == "literal_error" else ()
    hint = f"must be one of {', '.join(map(str, allowed))}" if allowed else item["msg"][0].lower() + item["msg"][1:]
    shown = field is not None and field.repr and not isinstance(item["input"], dict | list)
    return f"{hint} (got {item['input']!r})" if shown else hint


def _yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong and where. PyYAML's own text repeats the line, which may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or "it cannot be read"
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark is not None else str(what)
