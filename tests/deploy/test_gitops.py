"""deploy/argocd and envs/: every image has its way from a tag to a pod, and rights are narrow."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from scripts.images import catalogue

from tests.deploy.charts import CHART, ROOT, pods, render
from tests.deploy.resources import plain_files, validate

NAMES = {image.name for image in catalogue()}
GPU = {"bert-worker-cuda", "vllm-worker", "trt-worker"}
ENVIRONMENTS = sorted(path.name for path in (ROOT / "envs").iterdir())
OBJECTS = [item for source, item in plain_files() if source.startswith("deploy/argocd")]


def of(kind: str) -> list[dict[str, Any]]:
    return [item for item in OBJECTS if item["kind"] == kind]


def updaters(environment: str) -> list[dict[str, Any]]:
    return [
        item for item in of("ImageUpdater") if item["spec"]["applicationRefs"][0]["namePattern"] == f"llm-{environment}"
    ]


def images(updater: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = updater["spec"]["applicationRefs"][0]["images"]
    return found


def values(environment: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "envs" / environment / "values.yaml").read_text())
    return loaded


@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_objects_are_valid(item: dict[str, Any]) -> None:
    validate(item)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_renders_and_its_objects_are_valid(environment: str) -> None:
    for item in render(values(environment)):
        validate(item)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_image_is_updated_once(environment: str) -> None:
    aliases = [image["alias"] for updater in updaters(environment) for image in images(updater)]
    assert sorted(aliases) == sorted(NAMES)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_updater_writes_where_the_chart_reads(environment: str) -> None:
    given = values(environment)
    for updater in updaters(environment):
        target = updater["spec"]["writeBackConfig"]["gitConfig"]["writeBackTarget"]
        assert target == f"helmvalues:/envs/{environment}/values.yaml"
        for image in images(updater):
            helm = image["manifestTargets"]["helm"]
            assert helm == {"name": f"images.{image['alias']}.name", "tag": f"images.{image['alias']}.tag"}
            name = image["imageName"].rpartition(":")[0]
            assert given["images"][image["alias"]]["name"] == name
            assert name == f"{given['image']['registry']}/{image['alias']}"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_tag_in_the_values_is_the_pods_tag(environment: str) -> None:
    given = values(environment)
    given["images"]["llm-api"]["tag"] = "v9.9.9"
    (api,) = [pod for pod in pods(render(given)) if pod.owner == "llm-api"]
    assert api.main["image"] == "registry.example.com/headrace/llm-api:v9.9.9"


def test_strategy_and_tags_are_set_at_each_image() -> None:
    for updater in of("ImageUpdater"):
        assert updater["spec"]["imagesVerification"]["cosignKey"]
        for image in images(updater):
            settings = image["commonUpdateSettings"]
            assert settings["updateStrategy"] == "semver"
            pattern = settings["allowTags"].removeprefix("regexp:")
            assert re.search(pattern, "v1.2.3")
            assert not [tag for tag in ("latest", "sha-abc", "v1.2.3-rc1", "1.2.3") if re.search(pattern, tag)]


def test_gpu_images_of_prod_move_by_pull_request_only() -> None:
    for updater in updaters("prod"):
        asks = "pullRequest" in updater["spec"]["writeBackConfig"]["gitConfig"]
        assert {image["alias"] in GPU for image in images(updater)} == {asks}


def test_an_application_for_each_environment() -> None:
    found = {item["metadata"]["name"]: item["spec"] for item in of("Application")}
    for environment in ENVIRONMENTS:
        spec = found[f"llm-{environment}"]
        assert spec["project"] == "headrace"
        assert spec["source"]["helm"]["valueFiles"] == [f"/envs/{environment}/values.yaml"]
        assert spec["source"]["path"] == "deploy/charts/llm"


def test_sync_is_automated_with_prune_heal_and_retry() -> None:
    for item in of("Application"):
        policy = item["spec"]["syncPolicy"]
        assert policy["automated"] == {"prune": True, "selfHeal": True}
        assert policy["retry"]["limit"] > 0
        assert item["metadata"]["finalizers"] == ["resources-finalizer.argocd.argoproj.io"]


def test_applications_stay_in_their_projects() -> None:
    projects = {item["metadata"]["name"]: item["spec"] for item in of("AppProject")}
    for item in of("Application"):
        spec = item["spec"]
        if spec["project"] == "default":
            assert item["metadata"]["name"] == "root"
            continue
        project = projects[spec["project"]]
        assert spec["destination"] in project["destinations"]
        for source in spec.get("sources", [spec.get("source")]):
            assert source["repoURL"] in project["sourceRepos"]
    assert "*" not in str(projects)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_project_allows_the_cluster_wide_kinds_of_the_chart_and_no_secrets(environment: str) -> None:
    (project,) = [item["spec"] for item in of("AppProject") if item["metadata"]["name"] == "headrace"]
    allowed = {entry["kind"] for entry in project["clusterResourceWhitelist"]}
    kinds = {item["kind"] for item in render(values(environment))}
    assert (
        kinds & {"PersistentVolume", "Namespace", "ClusterRole", "PriorityClass", "CustomResourceDefinition"} == allowed
    )
    assert "Secret" in {entry["kind"] for entry in project["namespaceResourceBlacklist"]}


def test_replicas_of_autoscaled_deployments_are_not_healed() -> None:
    scaling = {"mode": "cpu", "min": 2, "max": 4, "target": 70}
    worker = {"kind": "cpu", "model": "m", "autoscaling": scaling}
    for item in render({"api": {"autoscaling": scaling}, "workers": {"a": worker}}):
        if item["kind"] == "Deployment":
            marked = item["metadata"].get("annotations", {}).get("headrace.io/autoscaled") == "true"
            assert marked == ("replicas" not in item["spec"])
    for environment in ENVIRONMENTS:
        (spec,) = [item["spec"] for item in of("Application") if item["metadata"]["name"] == f"llm-{environment}"]
        assert any("headrace.io/autoscaled" in str(rule) for rule in spec["ignoreDifferences"])


def test_health_is_known_for_kinds_that_argo_cd_cannot_judge() -> None:
    config = yaml.safe_load((ROOT / "deploy/platform/argocd/values.yaml").read_text())["configs"]["cm"]
    for kind in ("argoproj.io_Application", "keda.sh_ScaledObject", "argocd-image-updater.argoproj.io_ImageUpdater"):
        assert f"resource.customizations.health.{kind}" in config


def test_waves_bring_the_platform_first() -> None:
    waves = {
        item["metadata"]["name"]: int(item["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", 0))
        for item in of("Application")
    }
    assert (
        waves["platform-base"]
        < waves["metallb"]
        < waves["metallb-addresses"]
        < waves["llm-staging"]
        < waves["llm-prod"]
    )


def test_the_kinds_of_monitors_come_before_those_who_have_some() -> None:
    """And Prometheus chooses them by the name of its own release, in the namespace from which policies let it in."""
    applications = {item["metadata"]["name"]: item for item in of("Application")}

    def wave(name: str) -> int:
        return int(applications[name]["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])

    assert all(wave("monitoring") < wave(name) for name in ("ingress-nginx", "llm-staging", "llm-prod"))
    spec = applications["monitoring"]["spec"]
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert spec["sources"][0]["helm"]["releaseName"] == defaults["monitoring"]["labels"]["release"]
    assert spec["destination"]["namespace"] == defaults["networkPolicy"]["monitoring"]["namespace"]
