"""Every example renders into objects that Kubernetes would take, with settings that Headrace would take."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml
from scripts.images import catalogue

from headrace import config
from headrace.cli import app
from tests.deploy.charts import NAMES, NAMESPACE, ROOT, Object, find, pods, render, values
from tests.deploy.resources import VERSIONS, validate

SECTIONS = {section.section: section for section in config.SECTIONS}


@pytest.fixture(scope="module", params=NAMES)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return render(values(request.param))


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_valid(objects: list[Object], version: str) -> None:
    for item in objects:
        validate(item, version)


def test_unknown_keys_are_noticed() -> None:
    service = find(render({}), "Service", "llm-api-service")
    service["spec"]["clusterIPs_"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(service, VERSIONS[-1])


def test_unknown_keys_of_custom_resources_are_noticed() -> None:
    route = find(render(values("several-nodes")), "HTTPRoute", "llm")
    route["spec"]["rules"][0]["timeouts"]["backend"] = "0s"
    with pytest.raises(jsonschema.ValidationError):
        validate(route, VERSIONS[-1])


def test_no_name_is_used_twice(objects: list[Object]) -> None:
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(names) == len(set(names))


def test_everything_is_in_the_namespace_of_the_release(objects: list[Object]) -> None:
    cluster = {"PersistentVolume"}
    for item in objects:
        assert item["metadata"].get("namespace", NAMESPACE) == NAMESPACE
        assert item["kind"] in cluster or not item["kind"].startswith("Cluster")


def test_the_chart_makes_no_secret(objects: list[Object]) -> None:
    assert not [item for item in objects if item["kind"] == "Secret"]


def test_headrace_takes_the_settings(objects: list[Object], tmp_path: Path) -> None:
    """Each ConfigMap is loaded by the code that reads it in the pod."""
    files = [item for item in objects if item["kind"] == "ConfigMap" and "headrace.yaml" in item["data"]]
    assert files
    for item in files:
        path = tmp_path / f"{item['metadata']['name']}.yaml"
        path.write_text(item["data"]["headrace.yaml"])
        (section,) = yaml.safe_load(path.read_text())
        settings = config.load(SECTIONS[section], file=path, env=False)
        assert isinstance(settings, config.ServiceSettings)
        assert settings.drain_timeout == drain(objects, item["metadata"]["name"])


def drain(objects: list[Object], name: str) -> float:
    """What the pod's grace leaves for requests that run."""
    (pod,) = [pod for pod in pods(objects) if pod.owner == name]
    grace: int = pod.spec["terminationGracePeriodSeconds"]
    return grace - 15 - int(pod.main["lifecycle"]["preStop"]["sleep"]["seconds"])


def test_services_have_the_names_of_the_seed() -> None:
    names = {item["metadata"]["name"] for item in render(values("several-nodes")) if item["kind"] == "Service"}
    drawn = {"llm-web", "llm-api", "router", "bert-worker", "vllm-worker", "trt-worker"}
    assert {f"{name}-service" for name in drawn} <= names
    cpu = {item["metadata"]["name"] for item in render(values("cpu-demo")) if item["kind"] == "Service"}
    assert "cpu-worker-service" in cpu


def test_clients_that_choose_pods_have_a_headless_twin(objects: list[Object]) -> None:
    services = {item["metadata"]["name"]: item["spec"] for item in objects if item["kind"] == "Service"}
    for name, service in services.items():
        if name.startswith("router") or "-worker-" in name:
            twin: dict[str, Any] = services[name.removesuffix("-headless") + "-headless"]
            assert twin["clusterIP"] == "None"
            assert twin["publishNotReadyAddresses"]
            assert {port["name"] for port in twin["ports"]} == {"http", "ops"}
            assert twin["selector"] == service["selector"]


def test_services_select_pods_and_their_ports(objects: list[Object]) -> None:
    templates = list(pods(objects))
    for item in objects:
        if item["kind"] != "Service":
            continue
        selector = item["spec"]["selector"].items()
        chosen = [pod for pod in templates if selector <= pod.labels.items()]
        assert chosen, item["metadata"]["name"]
        for pod in chosen:
            ports = {port["name"]: port["containerPort"] for port in pod.main["ports"]}
            assert all(ports[port["targetPort"]] == port["port"] for port in item["spec"]["ports"])


def test_router_is_told_of_every_pool() -> None:
    settings = yaml.safe_load(find(render(values("several-nodes")), "ConfigMap", "router")["data"]["headrace.yaml"])
    assert set(settings["router"]["pools"]) == {
        "llama-3.3-70b",
        "qwen3-coder-30b",
        "bge-m3",
        "bge-reranker-v2-m3",
    }
    assert settings["router"]["replicas"] == 3


def test_commands_are_taken_by_the_command_line() -> None:
    """Each container's command and arguments are parsed by the code that gets them in the pod."""
    given = values("several-nodes") | {"modelStore": {"placement": {"enabled": True, "models": ["demo", "team/model"]}}}
    seen = set()
    for pod in [*pods(render(given)), *pods(render(values("cpu-demo")))]:
        for container in pod.containers:
            line = container.get("command") or entry_point(container["image"])
            if line and line[0].endswith("/headrace"):
                seen.add(parse([*line[1:], *container.get("args", [])]))
    assert seen == {
        "db upgrade",
        "api",
        "router",
        "models pull",
        "models verify",
        *(f"worker {kind}" for kind in ("bert", "cpu", "vllm", "trt")),
    }


def entry_point(image: str) -> list[str]:
    """Of one of our images, from its Dockerfile."""
    name = image.rsplit("/", 1)[-1].split(":", maxsplit=1)[0]
    for row in catalogue():
        if row.name == name:
            text = (ROOT / "deploy" / "images" / row.dockerfile).read_text()
            (found,) = re.findall(rf"AS {name}\n(?:(?!^FROM ).*\n)*?ENTRYPOINT (\[.*\])$", text, re.MULTILINE)
            line: list[str] = json.loads(found)
            return line
    return []


def parse(arguments: list[str]) -> str:
    """The command's name; it is not run. Fails for an option or argument that it does not know."""
    command: Any = typer.main.get_command(app)
    path = []
    while hasattr(command, "commands") and arguments and arguments[0] in command.commands:
        path.append(arguments[0])
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context(" ".join(path), list(arguments))
    return " ".join(path)
