"""Settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from headrace.config import ApiSettings, BertWorkerSettings, RouterSettings, load
from headrace.errors import ConfigError
from headrace.sources import Settings

SECRET = "s3cr3t-and-wrong"


class Guarded(Settings):
    """Secrets of every kind of value."""

    section: ClassVar[str] = "api"
    number: int = Field(0, description="x", repr=False)
    names: list[int] = Field([], description="x")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "headrace.yaml"


def complaint(kind: type[Settings], **how: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(kind, **how)
    return str(caught.value)


def test_flags_go_before_environment_before_file_before_defaults(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("api: {port: 1, ops_port: 1, processes: 1}\nrouter: {port: 7}\n")
    monkeypatch.setenv("HEADRACE_API_OPS_PORT", "2")
    monkeypatch.setenv("HEADRACE_API_PROCESSES", "2")
    monkeypatch.setenv("HEADRACE_ROUTER_PORT", "9")
    found = load(ApiSettings, file=file, flags={"processes": 3, "host": None})
    assert (found.port, found.ops_port, found.processes, found.host) == (1, 2, 3, "0.0.0.0")
    assert load(RouterSettings, file=file, env=False).port == 7


def test_lists_come_as_json_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_API_ROUTER", '["http://a:1/", "http://b:1"]')
    assert load(ApiSettings).router == ["http://a:1", "http://b:1"]
    monkeypatch.setenv("HEADRACE_API_ROUTER", "http://a:1")
    assert "HEADRACE_API_ROUTER: must be JSON" in complaint(ApiSettings)


def test_typing_error_names_source_key_and_what_is_allowed(file: Path) -> None:
    file.write_text("router: {prot: 1}")
    assert re.match(
        rf"{file}: router\.prot: unknown setting; allowed are .*\bport\b", complaint(RouterSettings, file=file)
    )


@pytest.mark.parametrize(
    ("kind", "flags", "text"),
    [
        (
            ApiSettings,
            {"port": 70_000},
            "command line: api.port: input should be less than or equal to 65535 (got",
        ),
        (ApiSettings, {"log_level": "loud"}, "must be one of debug, info, warning, error (got 'loud')"),
        (ApiSettings, {"router": ["ftp://a"]}, "api.router.0: value error, must start with http:// (got 'ftp://a')"),
        (BertWorkerSettings, {}, "settings: bert.model: is required"),
    ],
)
def test_wrong_value_is_told_with_its_place(kind: type[Settings], flags: dict[str, Any], text: str) -> None:
    assert text in complaint(kind, flags=flags, env=False)


def test_environment_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_API_PORT", "x")
    assert complaint(ApiSettings).startswith("environment: HEADRACE_API_PORT: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api: [1", "is not valid YAML: line 1, column 8"),
        ("api: {port: 2026-99-99}", "holds a date, a number or a tag that cannot be read; quote it"),
        ("- api", "must hold sections such as api:, not list"),
        ("apis: {}", "unknown section 'apis'; sections are"),
        ("api: 3", "api must be a mapping of settings"),
    ],
)
def test_file_that_makes_no_sense(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    assert said in complaint(ApiSettings, file=file)


def test_file_that_cannot_be_read(file: Path) -> None:
    assert complaint(ApiSettings, file=file) == f"{file}: cannot be read: No such file or directory"
    file.write_bytes(b"api: {name: \xff}")
    assert "is not UTF-8" in complaint(ApiSettings, file=file)


@pytest.mark.parametrize(
    "text",
    [
        f"api: {{number: {SECRET}}}",
        f"api: {{names: {{password: {SECRET}}}}}",
        f"api: {{unknown: {SECRET}}}",
        f"api:\n  number: '{SECRET}\n  names: x",
        f"api:\n  number: {SECRET}: 1",
    ],
)
def test_no_complaint_repeats_a_secret(file: Path, text: str) -> None:
    file.write_text(text)
    assert SECRET not in complaint(Guarded, file=file, env=False)
