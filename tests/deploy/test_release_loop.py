"""From a pushed tag to the rendered pod and back: a real registry, a real git repository, our model of the updater."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.images import catalogue
from scripts.release import ReleaseError, check, notes
from scripts.rollback import RollbackError, roll_back

from tests.deploy import image_updater_model as model
from tests.deploy.charts import ROOT, pods, render
from tests.deploy.registry import push, registry

NAMES = [image.name for image in catalogue()]
needs_registry = pytest.mark.skipif(
    shutil.which("docker-registry") is None, reason="needs docker-registry (apt-get install docker-registry)"
)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    line = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as address:
        for name in NAMES:
            for tag in ("v0.1.0", "sha-0123456"):
                push(address, f"headrace/{name}", tag)
        yield address


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A bare repository with envs/ and the updaters of this checkout."""
    work, bare = tmp_path / "work", tmp_path / "headrace.git"
    shutil.copytree(ROOT / "envs", work / "envs")
    shutil.copytree(ROOT / "deploy" / "argocd", work / "deploy" / "argocd")
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(work))
    git(work, "add", ".")
    git(work, "commit", "--quiet", "-m", "Begin")
    git(tmp_path, "clone", "--quiet", "--bare", str(work), str(bare))
    git(work, "remote", "add", "origin", str(bare))
    return bare


def updater(repository: Path, environment: str, name: str) -> dict[str, Any]:
    text = git(repository, "show", f"main:deploy/argocd/image-updater/{environment}.yaml")
    return next(item for item in yaml.safe_load_all(text) if item["metadata"]["name"] == name)


def rendered_tag(repository: Path, environment: str, owner: str, branch: str = "main") -> str:
    given = yaml.safe_load(git(repository, "show", f"{branch}:envs/{environment}/values.yaml"))
    (pod,) = [pod for pod in pods(render(given)) if pod.owner == owner]
    return str(pod.main["image"]).rpartition(":")[2]


@needs_registry
def test_a_pushed_tag_reaches_the_rendered_pod(host: str, repository: Path) -> None:
    push(host, "headrace/router", "v0.1.1")
    assert model.update(updater(repository, "staging", "llm-staging"), repository, registry=host) == "main"
    assert rendered_tag(repository, "staging", "router") == "v0.1.1"
    assert rendered_tag(repository, "staging", "llm-api") == "v0.1.0"
    assert model.update(updater(repository, "staging", "llm-staging"), repository, registry=host) is None


@needs_registry
def test_bad_tags_are_refused(host: str, repository: Path) -> None:
    for tag in ("latest", "v0.2", "v0.2.0-rc1", "0.3.0", "v1.0.0"):
        push(host, "headrace/llm-api", tag)
    model.update(updater(repository, "staging", "llm-staging"), repository, registry=host)
    assert rendered_tag(repository, "staging", "llm-api") == "v0.1.0"


@needs_registry
def test_rollback_restores_the_old_tag_and_is_not_bumped_again(host: str, repository: Path, tmp_path: Path) -> None:
    push(host, "headrace/llm-web", "v0.1.1")
    model.update(updater(repository, "staging", "llm-staging"), repository, registry=host)
    assert rendered_tag(repository, "staging", "llm-web") == "v0.1.1"
    work = tmp_path / "operator"
    git(tmp_path, "clone", "--quiet", str(repository), str(work))
    assert roll_back(work, "staging", "llm-web", None) == ("v0.1.1", "v0.1.0")
    git(work, "commit", "--quiet", "-am", "Roll back")
    git(work, "push", "--quiet", "origin", "main")
    model.update(updater(repository, "staging", "llm-staging"), repository, registry=host)
    assert rendered_tag(repository, "staging", "llm-web") == "v0.1.0"
    push(host, "headrace/llm-web", "v0.1.2")  # the mended one is not blocked
    model.update(updater(repository, "staging", "llm-staging"), repository, registry=host)
    assert rendered_tag(repository, "staging", "llm-web") == "v0.1.2"


@needs_registry
def test_gpu_images_of_prod_wait_for_a_pull_request(host: str, repository: Path) -> None:
    push(host, "headrace/vllm-worker", "v0.1.1")
    branch = model.update(updater(repository, "prod", "llm-prod-gpu"), repository, registry=host)
    assert branch not in (None, "main")
    assert rendered_tag(repository, "prod", "vllm-worker-qwen3-8b") == "v0.1.0"
    assert rendered_tag(repository, "prod", "vllm-worker-qwen3-8b", str(branch)) == "v0.1.1"


def test_rollback_says_what_is_wrong(repository: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    with pytest.raises(RollbackError, match="no environment 'production'"):
        roll_back(work, "production", "router", None)
    with pytest.raises(RollbackError, match="no tag of 'routes'"):
        roll_back(work, "staging", "routes", None)
    with pytest.raises(RollbackError, match="never had another tag"):
        roll_back(work, "staging", "router", None)
    with pytest.raises(RollbackError, match="already is at v0"):
        roll_back(work, "staging", "router", "v0.1.0")


def test_rollback_keeps_comments_and_other_images(repository: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    before = (work / "envs/staging/values.yaml").read_text()
    roll_back(work, "staging", "router", "v0.0.9")
    after = (work / "envs/staging/values.yaml").read_text()
    changed = [(old, new) for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]
    assert len(changed) == 1
    assert "router" in changed[0][0]
    assert "v0.0.9" in changed[0][1]


@pytest.mark.parametrize(
    ("tags", "constraint", "ignore", "chosen"),
    [
        (["v1.2.3", "v1.10.0", "v1.9.9"], "1.x", [], "v1.10.0"),
        (["v1.2.3", "v1.3.0"], "1.2.x", [], "v1.2.3"),
        (["v1.2.3", "v1.2.4"], "1.x", ["v1.2.4"], "v1.2.3"),
        (["v1.2.3", "v1.2.4"], "1.x", ["v1.2.*"], None),
        (["latest", "sha-1", "v1.2.3-rc1"], "1.x", [], None),
        (["v2.0.0"], "1.x", [], None),
    ],
)
def test_model_chooses_as_documented(tags: list[str], constraint: str, ignore: list[str], chosen: str | None) -> None:
    assert model.choose(tags, constraint, r"regexp:^v[0-9]+\.[0-9]+\.[0-9]+$", ignore) == chosen


def test_release_needs_versions_that_agree(tmp_path: Path) -> None:
    (tmp_path / "deploy/charts/llm").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "headrace"\nversion = "1.2.3"\n')
    chart = tmp_path / "deploy/charts/llm/Chart.yaml"
    chart.write_text("version: 1.2.3\nappVersion: 1.2.3\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3\n\n- Something.\n\n## 1.2.2\n\n- Older.\n")
    check(tmp_path, "v1.2.3")
    assert notes(tmp_path, "v1.2.3") == "- Something.\n"
    with pytest.raises(ReleaseError, match="no section"):
        notes(tmp_path, "v1.2.4")
    with pytest.raises(ReleaseError, match=r"pyproject.toml says 1.2.3"):
        check(tmp_path, "v1.2.4")
    with pytest.raises(ReleaseError, match="not a release"):
        check(tmp_path, "1.2.3")
    chart.write_text("version: 1.2.3\nappVersion: 1.2.2\n")
    with pytest.raises(ReleaseError, match=r"appVersion says 1\.2\.2"):
        check(tmp_path, "v1.2.3")
