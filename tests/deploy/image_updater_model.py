"""Our model of what Argo CD Image Updater does with an ImageUpdater. It is not the updater and proves nothing of it.

Rules and where they stand (argoproj-labs/argocd-image-updater at de2cfec6):

1. Tags are filtered by ``allowTags`` (``regexp:…``), then by ``ignoreTags`` (globs): docs/configuration/images.md,
   "Filtering tags" and "Ignoring certain tags".
2. ``semver`` takes the highest version that fits the constraint behind ``imageName``; tags that are no versions are
   left out, a leading ``v`` does not matter, pre-releases need ``-0``: docs/basics/update-strategies.md.
3. With ``helmvalues`` it writes the tag to ``manifestTargets.helm.tag`` and the name without a tag to
   ``manifestTargets.helm.name``, both always, and commits to ``gitConfig.branch``: pkg/argocd/update.go,
   marshalParamsOverride.
4. With ``pullRequest`` it pushes a branch of its own instead: docs/basics/update-methods.md, "Git Pull Request".
5. Nothing is written where nothing changes: pkg/argocd/update.go.
"""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import yaml

Version = tuple[int, int, int]
_SEMVER = re.compile(r"^v?(\d+)\.(\d+)\.(\d+)$")


def version(tag: str) -> Version | None:
    """The version that a tag names; None for pre-releases and other tags."""
    found = _SEMVER.match(tag)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def satisfies(tag: str, constraint: str) -> bool:
    """Constraints of the form ``1.x`` and ``1.2.x``, the only ones that we use."""
    known = version(tag)
    wanted = constraint.removeprefix("v").split(".")
    if wanted[-1] != "x" or not all(part.isdigit() for part in wanted[:-1]):
        raise ValueError(f"constraint {constraint} is not modelled")
    return known is not None and list(map(str, known[: len(wanted) - 1])) == wanted[:-1]


def choose(tags: list[str], constraint: str, allow: str, ignore: list[str]) -> str | None:
    """Rules 1 and 2."""
    function, _, pattern = allow.partition(":")
    if function != "regexp":
        raise ValueError(f"allowTags {allow} is not modelled")
    left = [tag for tag in tags if re.search(pattern, tag)]
    left = [tag for tag in left if not any(fnmatch.fnmatchcase(tag, glob) for glob in ignore)]
    return max(
        (tag for tag in left if satisfies(tag, constraint)), key=lambda tag: version(tag) or (0, 0, 0), default=None
    )


def list_tags(registry: str, repository: str) -> list[str]:
    """Of a registry, by the OCI distribution API."""
    with urllib.request.urlopen(f"http://{registry}/v2/{repository}/tags/list", timeout=30) as answer:
        tags: list[str] = json.loads(answer.read())["tags"] or []
    return tags


def update(updater: dict[str, Any], repository: Path, *, registry: str) -> str | None:
    """One round of the controller against a bare repository; the branch that was pushed, None if nothing changed.

    ``registry`` is where the images really are: it takes the place of the host in ``imageName``.
    """
    spec = updater["spec"]
    git = spec["writeBackConfig"]["gitConfig"]
    target = git["writeBackTarget"].removeprefix("helmvalues:").lstrip("/")
    work = repository.with_name(repository.name + ".work")
    _git(repository.parent, "clone", "--quiet", "--branch", git["branch"], str(repository), str(work))
    try:
        path = work / target
        values = yaml.safe_load(path.read_text())
        before = json.dumps(values)
        for image in spec["applicationRefs"][0]["images"]:
            _update_image(values, image, registry)
        if json.dumps(values) == before:
            return None
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        branch = "image-updater-change" if "pullRequest" in git else str(git["branch"])
        _git(work, "commit", "--quiet", "--all", "--message", "Update images")
        _git(work, "push", "--quiet", "origin", f"HEAD:{branch}")
        return branch
    finally:
        subprocess.run(["rm", "-rf", str(work)], check=True)


def _update_image(values: dict[str, Any], image: dict[str, Any], registry: str) -> None:
    name, _, constraint = image["imageName"].rpartition(":")
    settings = image["commonUpdateSettings"]
    tags = list_tags(registry, name.partition("/")[2])
    chosen = choose(tags, constraint, settings["allowTags"], settings["ignoreTags"])
    if chosen is not None:
        helm = image["manifestTargets"]["helm"]
        _put(values, helm["tag"], chosen)
        _put(values, helm["name"], name)


def _put(values: dict[str, Any], path: str, value: str) -> None:
    *parents, last = path.split(".")
    for part in parents:
        values = values.setdefault(part, {})
    values[last] = value


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=model", "-c", "user.email=model@example.com")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)
