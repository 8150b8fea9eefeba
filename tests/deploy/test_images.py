"""The images' recipes: one list, pinned, no build tools at run time, nothing in the engines' environments."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripts.images import Image, catalogue, command

from tests.deploy.charts import CHART, ROOT, is_service, pods, render, values

FOLDER = ROOT / "deploy" / "images"
DOCKERFILES = sorted(FOLDER.glob("*.Dockerfile"))
IMAGES = catalogue()


def stage(image: Image) -> str:
    """The text of the image's own stage, without those that it is built in."""
    text = (FOLDER / image.dockerfile).read_text()
    (found,) = re.findall(rf"^FROM \S+ AS {image.name}\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def tool(name: str) -> str:
    """A program of this environment."""
    return str(Path(sys.executable).with_name(name))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_is_content(path: Path) -> None:
    done = subprocess.run([tool("hadolint"), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [FOLDER / "base.sh", ROOT / "deploy" / "verify.sh"], ids=lambda path: path.name)
def test_shellcheck_is_content(path: Path) -> None:
    done = subprocess.run([tool("shellcheck"), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_dockerfile_is_in_the_list() -> None:
    assert {image.dockerfile for image in IMAGES} == {path.name for path in DOCKERFILES}


def test_every_image_of_the_chart_is_in_the_list_and_in_the_schema() -> None:
    used = set()
    for example in ("several-nodes", "cpu-demo", "air-gapped"):
        for pod in pods(render(values(example))):
            if is_service(pod):
                used.add(pod.main["image"].rsplit("/", 1)[-1].split(":")[0])
    names = {image.name for image in IMAGES}
    assert used == names
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]["images"]["properties"]) == names


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_image_runs_as_nobody_special(image: Image) -> None:
    text = (FOLDER / image.dockerfile).read_text()
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "10001:10001"
    assert "uid 10001" in text or "headrace:x:10001:10001" in text  # an entry in passwd
    assert re.search(r'^ENTRYPOINT \["/', stage(image), re.MULTILINE)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_ports_are_those_of_the_chart(image: Image) -> None:
    (ports,) = re.findall(r"^EXPOSE (\d+) (\d+)$", stage(image), re.MULTILINE)
    for example in ("several-nodes", "cpu-demo"):
        for pod in pods(render(values(example))):
            if f"/{image.name}:" in pod.main["image"]:
                assert [str(port["containerPort"]) for port in pod.main["ports"]] == list(ports)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_bases_are_arguments_with_a_digest(path: Path) -> None:
    text = path.read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)) | {"scratch"}
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - stages
    assert bases == {"${BASE_IMAGE}${BASE_DIGEST:+@$BASE_DIGEST}"}
    assert "latest" not in text


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_everything_is_installed_from_a_lock(path: Path) -> None:
    """Packages come by scripts.setup.image (hashes) or npm ci (the lock file), never by name."""
    lines = path.read_text().replace("\\\n", " ").splitlines()
    for line in lines:
        if line.startswith("RUN"):
            assert not re.search(r"\b(pip3?|uv|npm|apt-get) (install|add|i)\b", line), line
            for extra in re.findall(r"image packages (\S+)", line):
                assert (ROOT / "requirements" / f"{extra}.txt").exists(), extra


@pytest.mark.parametrize("name", ["vllm-worker", "trt-worker"])
def test_engines_environment_stays_as_it_is(name: str) -> None:
    """Nothing is run in the engine's image but making our user, and all we add lies in /opt/headrace."""
    image = next(image for image in IMAGES if image.name == name)
    text = stage(image)
    commands = re.findall(r"^RUN (.*)$", text, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["useradd"]
    assert re.findall(r"^COPY (.*)$", text, re.MULTILINE) == ["--from=build /opt/headrace /opt/headrace"]
    assert not re.search(r"^ENV .*\b(PYTHONPATH|PYTHONHOME|LD_LIBRARY_PATH)\b", text, re.MULTILINE)
    build = (FOLDER / image.dockerfile).read_text().split(f"AS {name}")[0]
    for target in re.findall(r"scripts\.setup\.image (?:packages \S+|headrace) (\S+)", build):
        assert target == "/opt/headrace"
    assert 'LABEL io.headrace.engine="' in text
    assert "io.headrace.engine.version" in text


def test_build_hands_on_the_users_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.example/simple")
    line = command(Image("router", "services.Dockerfile", "python"), "r/router:1", base="b:1", labels=["k=v"])
    assert "PIP_INDEX_URL=http://index.example/simple" in line
    assert "BASE_IMAGE=b:1" in line
    assert line[line.index("--tag") + 1] == "r/router:1"
    assert line[line.index("--label") + 1] == "k=v"


def test_engines_keep_their_makers_base() -> None:
    line = command(Image("vllm-worker", "vllm.Dockerfile", "vllm"), "r/v:1", base="b:1", labels=[])
    assert not [part for part in line if part.startswith("BASE_IMAGE=")]
