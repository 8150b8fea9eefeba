"""What holds for every pod: probes, drains, images, rights and places."""

from __future__ import annotations

import re

import pytest

from tests.deploy.charts import NAMES, Pod, is_service, is_worker, pods, render, values

EVERYTHING = {
    "trialStores": {"enabled": True},
    "modelStore": {"placement": {"enabled": True, "models": ["demo"]}},
    "workers": {"a": {"kind": "bert", "model": "m", "resources": {"limits": {"memory": "2Gi"}}}},
}


@pytest.fixture(scope="module", params=[*NAMES, "everything"])
def found(request: pytest.FixtureRequest) -> list[Pod]:
    given = EVERYTHING if request.param == "everything" else values(request.param)
    return list(pods(render(given)))


def test_root_is_read_only_and_what_is_written_is_bounded(found: list[Pod]) -> None:
    for pod in found:
        assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in pod.containers), pod.owner
        for volume in pod.spec.get("volumes", []):
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), (pod.owner, volume)


def test_images_are_pinned_and_from_the_registry(found: list[Pod]) -> None:
    for pod in found:
        for container in pod.containers:
            assert re.search(r":[A-Za-z0-9._-]+$", container["image"]), container["image"]
            assert not container["image"].endswith(":latest")
            if is_service(pod):
                assert container["image"].startswith(("registry.example.com/", "registry.internal.example/"))


def test_services_have_all_probes_on_the_ops_port(found: list[Pod]) -> None:
    for pod in filter(is_service, found):
        wanted = {"startupProbe": ("/livez", "/readyz"), "readinessProbe": ("/readyz",), "livenessProbe": ("/livez",)}
        for probe, paths in wanted.items():
            assert pod.main[probe]["httpGet"]["path"] in paths
            assert pod.main[probe]["httpGet"]["port"] == "ops"


def test_liveness_never_waits_for_a_model(found: list[Pod]) -> None:
    """A worker that loads or is busy is alive: only its startup probe and readiness look at the model."""
    for pod in filter(is_worker, found):
        assert pod.main["startupProbe"]["httpGet"]["path"] == "/readyz"
        startup = pod.main["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 120
        assert pod.main["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_grace_covers_the_drain(found: list[Pod]) -> None:
    for pod in filter(is_service, found):
        sleep = int(pod.main["lifecycle"]["preStop"]["sleep"]["seconds"])
        assert pod.spec["terminationGracePeriodSeconds"] > sleep + 30


def test_no_pod_has_a_token_it_does_not_need(found: list[Pod]) -> None:
    for pod in found:
        assert pod.spec["serviceAccountName"] != "default"
        if pod.owner != "router":
            assert pod.spec["automountServiceAccountToken"] is False


def test_router_has_a_token_only_to_watch_endpoint_slices() -> None:
    def router(example: str) -> Pod:
        return next(pod for pod in pods(render(values(example))) if pod.owner == "router")

    assert router("one-gpu").spec["automountServiceAccountToken"] is False
    assert router("several-nodes").spec["automountServiceAccountToken"] is True
    (role,) = [item for item in render(values("several-nodes")) if item["kind"] == "Role"]
    assert role["rules"] == [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}
    ]


def test_no_service_links(found: list[Pod]) -> None:
    """A Service named vllm would set VLLM_PORT, which the engine reads."""
    assert all(pod.spec["enableServiceLinks"] is False for pod in found)


def test_services_are_spread_over_nodes(found: list[Pod]) -> None:
    for pod in filter(is_service, found):
        (constraint,) = pod.spec["topologySpreadConstraints"]
        assert constraint["topologyKey"] == "kubernetes.io/hostname"
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]
        assert constraint["labelSelector"]["matchLabels"].items() <= pod.labels.items()


def test_everything_has_bounded_memory(found: list[Pod]) -> None:
    for pod in found:
        for container in pod.containers:
            limits = container["resources"].get("limits", {})
            assert "memory" in limits or "nvidia.com/gpu" in limits, (pod.owner, container["name"])


def test_gpu_workers_ask_for_their_gpus(found: list[Pod]) -> None:
    for pod in found:
        if pod.component in ("vllm-worker", "trt-worker"):
            limits = pod.main["resources"]["limits"]
            assert int(limits["nvidia.com/gpu"]) >= 1
            assert "nvidia.com/gpu" not in pod.main["resources"].get("requests", {})
            tolerated = [item for item in pod.spec["tolerations"] if item["key"] == "nvidia.com/gpu"]
            assert tolerated[0]["operator"] == "Exists"
            assert {"name": "shm", "mountPath": "/dev/shm"} in pod.main["volumeMounts"]


def test_workers_go_where_their_model_is(found: list[Pod]) -> None:
    for pod in filter(is_worker, found):
        (volume,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "model"]
        if "image" in volume:
            continue
        term = pod.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (expression,) = term["nodeSelectorTerms"][0]["matchExpressions"]
        assert expression["key"].startswith("model.headrace.io/")


def test_rollouts_of_workers_need_no_spare_gpu() -> None:
    for item in render(values("several-nodes")):
        if item["kind"] == "Deployment" and "-worker-" in item["metadata"]["name"]:
            assert item["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
            assert item["spec"]["progressDeadlineSeconds"] >= 1800


def test_disruption_budgets_never_block_a_drain() -> None:
    objects = render(values("several-nodes"))
    budgets = {item["metadata"]["name"]: item["spec"] for item in objects if item["kind"] == "PodDisruptionBudget"}
    deployments = {item["metadata"]["name"] for item in objects if item["kind"] == "Deployment"}
    assert set(budgets) == deployments
    for budget in budgets.values():
        assert budget["maxUnavailable"] == 1
        assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_gpu_of_bert_takes_its_own_image() -> None:
    images = {pod.owner: pod.main["image"] for pod in pods(render(values("several-nodes")))}
    assert images["bert-worker-embed"].split("/")[-1].startswith("bert-worker-cuda:")
    assert images["bert-worker-rerank"].split("/")[-1].startswith("bert-worker:")


def test_migrations_run_before_llm_api() -> None:
    (api,) = [pod for pod in pods(render({})) if pod.owner == "llm-api"]
    (upgrade,) = api.spec["initContainers"]
    assert upgrade["command"][1:3] == ["db", "upgrade"]
    assert upgrade["image"] == api.main["image"]
