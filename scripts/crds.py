"""Hold our custom resources against the upstream definitions: python -m scripts.crds CHECKOUTS

CHECKOUTS holds a git checkout (bare or not) of each project as ``owner+name`` or ``owner+name/repo``. The definitions
are read at the commits named here; a key that they do not know is an error. The tests need none of this: they use what
tests/deploy/custom_resources.py says, which this checks from time to time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tests.deploy.resources import custom_resources

GATEWAY_API = ("kubernetes-sigs/gateway-api", "4564255ac2c35d582249b3cdf261bdf51c8bca32")
KEDA = ("kedacore/keda", "8b4f083ca8c8c2baf8477e322bd4d16ac4dfa09a")
METALLB = ("metallb/metallb", "7938d3f89b8bd808dae2e42d97d6ae7e18e9ed54")

ARGO_CD = ("argoproj/argo-cd", "37ee0097cf851bc2dd7665fc081bbce61a7e836e")
IMAGE_UPDATER = ("argoproj-labs/argocd-image-updater", "de2cfec67880a232bbdfce81c985796251be242a")

PROMETHEUS = ("prometheus-operator/prometheus-operator", "6adcebc5076c34f4f55f8f5f7b1e528929373ac7")

SOURCES = {
    "HTTPRoute": (*GATEWAY_API, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    "Gateway": (*GATEWAY_API, "config/crd/standard/gateway.networking.k8s.io_gateways.yaml"),
    "ScaledObject": (*KEDA, "config/crd/bases/keda.sh_scaledobjects.yaml"),
    "IPAddressPool": (*METALLB, "config/crd/bases/metallb.io_ipaddresspools.yaml"),
    "L2Advertisement": (*METALLB, "config/crd/bases/metallb.io_l2advertisements.yaml"),
    "BGPAdvertisement": (*METALLB, "config/crd/bases/metallb.io_bgpadvertisements.yaml"),
    "BGPPeer": (*METALLB, "config/crd/bases/metallb.io_bgppeers.yaml"),
    "Application": (*ARGO_CD, "manifests/crds/application-crd.yaml"),
    "AppProject": (*ARGO_CD, "manifests/crds/appproject-crd.yaml"),
    "ImageUpdater": (
        *IMAGE_UPDATER,
        "config/crd/bases/argocd-image-updater.argoproj.io_imageupdaters.yaml",
    ),
    "ServiceMonitor": (*PROMETHEUS, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"),
    "PodMonitor": (*PROMETHEUS, "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"),
    "PrometheusRule": (*PROMETHEUS, "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"),
    "BFDProfile": (*METALLB, "config/crd/bases/metallb.io_bfdprofiles.yaml"),
}


def definition(checkouts: Path, kind: str, version: str) -> dict[str, Any]:
    """The schema of one version of a kind, strict."""
    repository, commit, path = SOURCES[kind]
    folder = checkouts / repository.replace("/", "+")
    git = folder / "repo" if (folder / "repo").is_dir() else folder
    text = subprocess.run(
        ["git", "-C", str(git), "show", f"{commit}:{path}"], capture_output=True, text=True, check=True
    ).stdout
    versions = yaml.safe_load(text)["spec"]["versions"]
    schema = next(item["schema"]["openAPIV3Schema"] for item in versions if item["name"] == version.split("/")[1])
    return strict(schema)


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is not named, as ``kubectl --validate=strict`` does; metadata is the API server's own."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return {}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    known: dict[str, Any] = {
        key: schema[key] for key in ("type", "enum", "required", "pattern", "minimum", "maximum") if key in schema
    }
    if "properties" in schema:
        known["properties"] = {
            name: {"type": "object"} if name == "metadata" else strict(child)
            for name, child in schema["properties"].items()
        }
        known["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        known["additionalProperties"] = strict(schema["additionalProperties"])
    if "items" in schema:
        known["items"] = strict(schema["items"])
    return known


def problems(checkouts: Path) -> Iterator[str]:
    for source, item in custom_resources():
        schema = definition(checkouts, item["kind"], item["apiVersion"])
        for error in jsonschema.Draft7Validator(schema).iter_errors(item):
            yield f"{source}: {item['kind']} {item['metadata']['name']}: {error.json_path}: {error.message}"


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = list(problems(Path(sys.argv[1])))
    print("\n".join(found) or f"{sum(1 for _ in custom_resources())} custom resources agree with upstream")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
