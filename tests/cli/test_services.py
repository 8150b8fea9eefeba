"""From flags, environment and file to settings; and how wrong ones are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.errors import StoreError
from tests.cli.conftest import Run, told


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings that a service would have been run with."""
    settings: list[Any] = []
    for module in ("api", "router", "workers.cpu", "workers.bert"):
        monkeypatch.setattr(f"headrace.{module}.app.serve", settings.append)
    for engine in ("vllm", "trt"):
        monkeypatch.setattr(f"headrace.workers.{engine}.engine.serve", settings.append)
    return settings


def test_flag_over_environment_over_file_over_default(
    run: Run, served: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("router: {port: 1, ops_port: 2, queue: 3, host: 127.0.0.9}\napi: {port: 9}\n")
    monkeypatch.setenv("HEADRACE_ROUTER_PORT", "11")
    monkeypatch.setenv("HEADRACE_ROUTER_OPS_PORT", "12")
    run("router", "--config", str(file), "--port", "21")
    [settings] = served
    assert (settings.port, settings.ops_port, settings.queue, settings.host) == (21, 12, 3, "127.0.0.9")
    assert settings.attempts == 3


def test_router_flags(run: Run, served: list[Any]) -> None:
    workers = ["m=http://a:1,ops=http://a:2", "m=http://b:1"]
    flags = [part for worker in workers for part in ("--worker", worker)]
    run("router", *flags, "--port", "1", "--ops-port", "2", "--processes", "3", "--log-level", "debug")
    [settings] = served
    assert settings.workers == workers
    assert (settings.port, settings.ops_port, settings.processes, settings.log_level) == (1, 2, 3, "debug")


def test_api_flags(run: Run, served: list[Any]) -> None:
    run(
        "api", "--router", "http://a:1/", "--router", "http://b:1", "--port", "1", "--ops-port", "2", "--processes", "2"
    )
    [settings] = served
    assert settings.router == ["http://a:1", "http://b:1"]
    assert (settings.port, settings.ops_port, settings.processes) == (1, 2, 2)


@pytest.mark.parametrize("kind", ["cpu", "bert"])
def test_worker_flags(run: Run, served: list[Any], kind: str) -> None:
    run("worker", kind, "--model", "/models/x", "--name", "y", "--port", "1", "--ops-port", "2")
    [settings] = served
    assert (str(settings.model), settings.name, settings.port, settings.ops_port) == ("/models/x", "y", 1, 2)


@pytest.mark.parametrize("kind", ["vllm", "trt"])
def test_flags_of_a_worker_with_an_engine(run: Run, served: list[Any], kind: str, tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text(f"{kind}: {{arguments: [--of-the-file], context: 5}}\n")
    flags = ["--model", "/m", "--executable", "/opt/engine", "--tensor-parallel", "2", "--config", str(file)]
    run("worker", kind, *flags, "--context", "9", "--", "--seed", "1")
    run("worker", kind, *flags)
    given, not_given = served
    assert (str(given.executable), given.tensor_parallel, given.context) == ("/opt/engine", 2, 9)
    assert given.arguments == ["--seed", "1"]
    assert (not_given.arguments, not_given.context) == (["--of-the-file"], 5)


def test_lists_in_the_environment_are_json(run: Run, served: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_ROUTER_WORKERS", '["m=http://a:1"]')
    run("router")
    assert served[0].workers == ["m=http://a:1"]


@pytest.mark.parametrize(("command", "name"), [("router", "HEADRACE_ROUTER_WORKERS"), ("api", "HEADRACE_API_ROUTER")])
def test_list_that_is_not_json_is_named(
    run: Run, served: list[Any], monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    monkeypatch.setenv(name, "m=http://a:1")
    text = told(run(command), 2)
    assert text.startswith(f"environment: {name}: must be JSON, such as")
    assert not served


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("router: {5: 6}", "router.5: unknown setting"),
        ("router: {prot: 6}", "router.prot: unknown setting; allowed are attempts"),
        ("router: 5", "router must be a mapping"),
        ("rooter: {}", "unknown section 'rooter'; sections are api"),
        ("router: [", "is not valid YAML"),
        ("- router", "must hold sections"),
        ("router: {port: 70000}", "router.port: "),
        ("router: {pools: {m: {queu: 3}}}", "router.pools.m.queu: unknown setting"),
        ("router: {profiles: {mine: {prefix: 0}}}", "router.profiles.mine.prefix: "),
        ("router: {log_level: loud}", "must be one of debug, info, warning, error"),
        ("router: {workers: m}", "router.workers: "),
    ],
)
def test_wrong_file_is_told_with_its_name_and_the_key(
    run: Run, served: list[Any], tmp_path: Path, file: str, expected: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(file)
    text = told(run("router", "--config", str(path)), 2)
    assert text.startswith(str(path))
    assert expected in text
    assert not served


def test_file_that_is_not_there(run: Run, served: list[Any], tmp_path: Path) -> None:
    assert "cannot be read" in told(run("api", "-c", str(tmp_path / "none.yaml")), 2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["router", "--log-level", "loud"], "must be one of debug, info, warning, error"),
        (["router", "--port", "-1"], "router.port"),
        (["api", "--router", "ftp://a"], "must start with http://"),
        (["worker", "cpu"], "cpu.model: is required"),
    ],
)
def test_wrong_flag_is_one_line(run: Run, arguments: list[str], expected: str) -> None:
    ports = ["--ops-port", "0", "--host", "127.0.0.1"]
    assert expected in told(run(*arguments, *ports), 2)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModuleNotFoundError("No module named 'openvino'", name="openvino"), "openvino is not installed"),
        (PermissionError(13, "Permission denied", "/srv/home"), "/srv/home: Permission denied"),
        (OSError("no space"), "no space"),
        (StoreError("the database does not answer"), "the database does not answer"),
    ],
)
def test_what_the_machine_lacks_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    def serve(settings: object) -> None:
        raise error

    monkeypatch.setattr("headrace.router.app.serve", serve)
    assert expected in told(run("router"), 1)


def test_home_that_is_no_folder_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", "/dev/null/x")
    assert "Not a directory" in told(run("keys", "list"), 2)
