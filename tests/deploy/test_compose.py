"""deploy/compose.yaml: the same images, settings that exist, and the cluster's edges as networks."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from scripts.images import catalogue

from headrace import config
from tests.deploy.charts import ROOT

TEXT = (ROOT / "deploy" / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = {name: service for name, service in SERVICES.items() if "HEADRACE_REGISTRY" in service["image"]}
SECTIONS = {section.section: section for section in config.SECTIONS}


def test_images_are_ours_or_pinned() -> None:
    names = {image.name for image in catalogue()}
    for name, service in SERVICES.items():
        if name in OURS:
            assert re.fullmatch(r"\$\{HEADRACE_REGISTRY:\?\}/([a-z-]+):\$\{HEADRACE_TAG:\?\}", service["image"])
            assert service["image"].split("/")[1].split(":")[0] in names
        else:
            assert re.search(r":v?[0-9][0-9a-z.-]*$", service["image"]), service["image"]


@pytest.mark.parametrize("name", OURS)
def test_settings_exist(name: str) -> None:
    for variable in OURS[name]["environment"]:
        if variable.startswith("HEADRACE_WEB_"):
            assert variable in (ROOT / "src/headrace/local/Caddyfile").read_text()
        elif variable != "HEADRACE_BOOTSTRAP_KEY":
            _, section, setting = variable.lower().split("_", 2)
            assert setting in SECTIONS[section].model_fields, variable


@pytest.mark.parametrize("name", OURS)
def test_service_is_locked_down(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_networks_are_the_edges_of_the_cluster() -> None:
    members = {name: set(service.get("networks", [])) for name, service in SERVICES.items()}

    def talk(first: str, second: str) -> bool:
        return bool(members[first] & members[second])

    assert talk("llm-web", "llm-api")
    assert talk("llm-api", "router")
    assert talk("llm-api", "postgres")
    assert all(talk("router", worker) for worker in ("cpu-worker", "bert-worker", "vllm-worker"))
    assert not any(talk("llm-api", worker) for worker in ("cpu-worker", "bert-worker", "vllm-worker"))
    assert not talk("llm-web", "router")
    assert not talk("router", "postgres")


def test_every_variable_without_a_default_is_in_the_example() -> None:
    needed = set(re.findall(r"\$\{([A-Z_]+):\?\}", TEXT))
    given = re.findall(r"^([A-Z_]+)=", (ROOT / "deploy" / "compose.env.example").read_text(), re.MULTILINE)
    assert needed <= set(given)


def test_only_the_entry_is_published() -> None:
    published = {name for name, service in SERVICES.items() if service.get("ports")}
    assert published <= {"llm-web", "llm-api", "grafana"}


def test_prometheus_scrapes_the_ops_port_of_every_service() -> None:
    entries = yaml.safe_load((ROOT / "deploy" / "compose" / "targets.yml").read_text())
    targets = {target for entry in entries for target in entry["targets"]}
    for entry in entries:
        assert [entry["labels"]["job"]] == [target.split(":")[0] for target in entry["targets"]]
        assert {"job", "namespace", "pod"} == set(entry["labels"]) - {"optional"}
        assert ("optional" in entry["labels"]) == ("profiles" in SERVICES[entry["labels"]["job"]])
    ports = {"llm-web": 9180}
    for name in OURS:
        section = {"llm-api": "api", "router": "router"}.get(name, name.removesuffix("-worker"))
        if section in SECTIONS and name != "database":
            ports[name] = SECTIONS[section].model_fields["ops_port"].default
    assert targets == {f"{name}:{port}" for name, port in ports.items()}
    for name in ports:
        assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES[name]["networks"]), name


def test_files_that_are_mounted_exist() -> None:
    for path in re.findall(r'"(\./[^:"]+):', TEXT):
        assert (ROOT / "deploy" / path).exists(), path
