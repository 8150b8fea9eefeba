"""values.schema.json: a typo fails, what excludes each other is refused, and open maps stay open."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml

from tests.deploy.charts import CHART, find, pods, render
from tests.deploy.helm import RenderError

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
WORKER: dict[str, Any] = {"kind": "vllm", "model": "m"}
OPEN = {
    ("monitoring", "labels"),
    ("monitoring", "dashboards", "labels"),
    ("web", "config"),
    ("api", "settings"),
    ("router", "settings"),
    ("modelStore", "placement", "nodeSelector"),
    ("ingress", "annotations"),
    ("pod", "labels"),
    ("pod", "annotations"),
    ("pod", "nodeSelector"),
}


def paths(node: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Of every mapping in the default values."""
    if not isinstance(node, dict):
        return []
    return [path, *(found for key, child in node.items() for found in paths(child, (*path, key)))]


def put(path: tuple[str, ...], key: str, value: Any) -> dict[str, Any]:
    given: dict[str, Any] = {key: value}
    for part in reversed(path):
        given = {part: given}
    return given


@pytest.mark.parametrize("path", paths(DEFAULTS), ids=lambda path: ".".join(path) or "top")
def test_typo_fails(path: tuple[str, ...]) -> None:
    named = path[-1:] == ("podLabels",) or path[-1:] in (("requests",), ("limits",))
    if path in OPEN or named:
        render(put(path, "typo", "1"))
    else:
        with pytest.raises(RenderError, match="typo"):
            render(put(path, "typo", "1"))


def test_global_stays_open() -> None:
    render({"global": {"anything": {"goes": True}}})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"images": {"llm-api": {"tag": "latest"}}}, "llm-api"),
        ({"images": {"llm-apu": {"tag": "v1"}}}, "llm-apu"),
        ({"image": {"registry": ""}}, "registry"),
        ({"workers": {"a": {"kind": "onnx", "model": "m"}}}, "kind"),
        ({"workers": {"a": {"kind": "bert"}}}, "model"),
        ({"workers": {"A_b": WORKER}}, "A_b"),
        ({"workers": {"a": WORKER | {"typo": 1}}}, "typo"),
        ({"workers": {"a": WORKER | {"gpus": 0}}}, "gpus"),
        ({"workers": {"a": {"kind": "cpu", "model": "m", "gpus": 1}}}, "gpus"),
        ({"workers": {"a": WORKER | {"autoscaling": {"mode": "keda", "min": 0, "max": 2, "target": 4}}}}, "prometheus"),
        ({"workers": {"a": WORKER | {"autoscaling": {"mode": "queue", "min": 0, "max": 2, "target": 4}}}}, "min"),
        ({"workers": {"a": WORKER | {"autoscaling": {"mode": "none", "max": 2}}}}, "max"),
        (
            {
                "workers": {
                    "a": WORKER | {"replicas": 2, "autoscaling": {"mode": "cpu", "min": 1, "max": 2, "target": 9}}
                }
            },
            "workers/a",
        ),
        ({"modelStore": {"type": "pvc"}}, "claim"),
        ({"modelStore": {"type": "image"}}, "reference"),
        ({"modelStore": {"type": "nfs"}}, "type"),
        ({"modelStore": {"path": "models"}}, "path"),
        ({"modelStore": {"placement": {"enabled": True}}}, "models"),
        ({"ingress": {"type": "gateway"}}, "gateway"),
        ({"ingress": {"admin": {"enabled": True}}}, "host"),
        ({"router": {"discovery": "endpointslices"}}, "cidrs"),
        ({"router": {"replicas": 0}}, "replicas"),
        ({"networkPolicy": {"otlp": {"cidrs": ["everywhere"]}}}, "cidrs"),
        ({"web": {"connect": ["http://insecure"]}}, "connect"),
    ],
    ids=str,
)
def test_wrong_value_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(RenderError, match=named):
        render(deepcopy(given))


def test_autoscaled_deployments_say_nothing_of_replicas() -> None:
    """Else each upgrade would undo what the autoscaler did."""
    scaling = {"mode": "cpu", "min": 2, "max": 4, "target": 70}
    objects = render({"api": {"autoscaling": scaling}, "workers": {"a": WORKER | {"autoscaling": scaling}}})
    for name in ("llm-api", "vllm-worker-a"):
        assert "replicas" not in find(objects, "Deployment", name)["spec"]
        assert find(objects, "HorizontalPodAutoscaler", name)["spec"]["scaleTargetRef"]["name"] == name


def test_keda_from_zero_outlasts_the_loading() -> None:
    scaling = {"mode": "keda", "min": 0, "max": 2, "target": 4, "prometheus": "http://p:9090"}
    item = find(render({"workers": {"a": WORKER | {"autoscaling": scaling}}}), "ScaledObject", "vllm-worker-a")
    assert item["spec"]["minReplicaCount"] == 0
    assert item["spec"]["cooldownPeriod"] >= 1800
    behaviour = item["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] >= 300


def test_replicas_may_be_zero() -> None:
    assert (
        find(render({"workers": {"a": WORKER | {"replicas": 0}}}), "Deployment", "vllm-worker-a")["spec"]["replicas"]
        == 0
    )


@pytest.mark.parametrize(
    ("store", "source"),
    [
        ({"type": "hostPathPV"}, "persistentVolumeClaim"),
        ({"type": "hostPath"}, "hostPath"),
        ({"type": "pvc", "claim": "models"}, "persistentVolumeClaim"),
        ({"type": "image", "reference": "r/models:1"}, "image"),
    ],
)
def test_models_are_mounted_read_only(store: dict[str, Any], source: str) -> None:
    (worker,) = [
        pod for pod in pods(render({"modelStore": store, "workers": {"a": WORKER}})) if "worker-a" in pod.owner
    ]
    (mount,) = [mount for mount in worker.main["volumeMounts"] if mount["mountPath"] == "/model"]
    (volume,) = [volume for volume in worker.spec["volumes"] if volume["name"] == mount["name"]]
    assert mount["readOnly"] is True
    assert set(volume) == {"name", source}


def test_missing_directory_is_a_readable_error() -> None:
    """type Directory makes the kubelet say which path is not there."""
    volume = find(render({}), "PersistentVolume", "llm-model-store")["spec"]
    assert volume["hostPath"] == {"path": "/srv/models", "type": "Directory"}
    assert volume["claimRef"]["name"] == "model-store"
    assert volume["accessModes"] == ["ReadOnlyMany"]
    assert "nodeAffinity" not in volume
