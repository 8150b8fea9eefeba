"""The chart, rendered by Helm's own library; and what the tests ask of rendered objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.helm import Renderer

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "charts" / "llm"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
NAMESPACE = "llm"

Object = dict[str, Any]


def values(example: str) -> Object:
    """The values of ``examples/<example>.yaml``; of ``default``, none."""
    if example == "default":
        return {}
    loaded: Object = yaml.safe_load((CHART / "examples" / f"{example}.yaml").read_text())
    return loaded


NAMES = ("default", *(path.stem for path in EXAMPLES))


def render(given: Object) -> list[Object]:
    """Every object of the chart. Raises RenderError where values or templates are wrong."""
    files = _renderer().render(given)
    texts = (text for name, text in files.items() if name.endswith(".yaml"))
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


@cache
def _renderer() -> Renderer:
    return Renderer(CHART, NAMESPACE)


def find(objects: list[Object], kind: str, name: str) -> Object:
    return next(item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name)


@dataclass(frozen=True)
class Pod:
    """The template of pods: whose it is, their labels and their specification."""

    owner: str
    kind: str
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: Object

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    @property
    def main(self) -> Object:
        container: Object = self.spec["containers"][0]
        return container

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pods(objects: list[Object]) -> Iterator[Pod]:
    """Of Deployments, DaemonSets, StatefulSets and Jobs."""
    for item in objects:
        template = item.get("spec", {}).get("template") if item["kind"] != "ScaledObject" else None
        if template and "containers" in template.get("spec", {}):
            metadata = template["metadata"]
            annotations = metadata.get("annotations", {})
            yield Pod(item["metadata"]["name"], item["kind"], metadata["labels"], annotations, template["spec"])


def is_worker(pod: Pod) -> bool:
    return pod.component.endswith("-worker")


def is_service(pod: Pod) -> bool:
    """One of Headrace's own, which drains."""
    return is_worker(pod) or pod.component in ("llm-web", "llm-api", "router")
