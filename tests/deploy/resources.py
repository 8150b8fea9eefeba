"""Every object that the project ships: the chart's, for each example, and the plain files under deploy/."""

from __future__ import annotations

from collections.abc import Iterator

import kubernetes_validate
import yaml

from tests.deploy import custom_resources as custom
from tests.deploy.charts import NAMES, ROOT, Object, render, values

FOLDERS = ("platform", "argocd")
VERSIONS = [f"1.{minor}" for minor in range(33, int(kubernetes_validate.latest_version().split(".")[1]) + 1)]


def plain_files() -> Iterator[tuple[str, Object]]:
    """Objects in the YAML files of ``FOLDERS``; values of somebody else's chart are none."""
    for folder in FOLDERS:
        for path in sorted((ROOT / "deploy" / folder).rglob("*.yaml")):
            for item in yaml.safe_load_all(path.read_text()):
                if isinstance(item, dict) and {"apiVersion", "kind", "metadata"} <= set(item):
                    yield str(path.relative_to(ROOT)), item


def custom_resources() -> Iterator[tuple[str, Object]]:
    """Those of a kind that Kubernetes itself does not know, with where they come from."""
    for example in NAMES:
        for item in render(values(example)):
            if item["kind"] in custom.KINDS:
                yield example, item
    for source, item in plain_files():
        if item["kind"] in custom.KINDS:
            yield source, item


def validate(item: Object, version: str = VERSIONS[-1]) -> None:
    """Strictly: an unknown key is an error, also in custom resources."""
    if item["kind"] in custom.KINDS:
        custom.check(item)
    else:
        kubernetes_validate.validate(item, version, strict=True)
