"""What a release consists of: ``python -m scripts.release check|files v1.2.3``.

``check``: the tag, the package, the chart and the changelog name the same version. ``files``: the chart, the wheel and
the changelog's section into dist/.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml


class ReleaseError(Exception):
    """The message says what does not agree."""


def check(root: Path, tag: str) -> None:
    """Raises ReleaseError."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise ReleaseError(f"{tag} is not a release: tags look like v1.2.3")
    version = tag.removeprefix("v")
    package = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((root / "deploy" / "charts" / "llm" / "Chart.yaml").read_text())
    for where, found in (
        ("pyproject.toml", package),
        ("Chart.yaml, version", chart["version"]),
        ("Chart.yaml, appVersion", chart["appVersion"]),
    ):
        if found != version:
            raise ReleaseError(f"{where} says {found}, the tag says {version}")
    notes(root, tag)


def notes(root: Path, tag: str) -> str:
    """The changelog's section of this version. Raises ReleaseError if there is none or it is empty."""
    version = re.escape(tag.removeprefix("v"))
    text = (root / "CHANGELOG.md").read_text()
    found = re.search(rf"^## \[?{version}\]?.*\n((?:(?!^## ).*\n?)*)", text, re.MULTILINE)
    if found is None or not found[1].strip():
        raise ReleaseError(f"CHANGELOG.md has no section {tag.removeprefix('v')}")
    return found[1].strip() + "\n"


def files(root: Path, tag: str) -> list[Path]:
    """Write them into dist/."""
    from helm_python import package  # noqa: PLC0415  only here, and slow to load

    dist = root / "dist"
    dist.mkdir(exist_ok=True)
    (dist / "notes.md").write_text(notes(root, tag))
    package(str(root / "deploy" / "charts" / "llm"), destination=str(dist))
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)], cwd=root, check=True)
    return sorted(dist.iterdir())


def main() -> int:
    match sys.argv[1:]:
        case ["check" | "files" as action, tag]:
            pass
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    try:
        check(Path.cwd(), tag)
        for path in files(Path.cwd(), tag) if action == "files" else ():
            print(path)
    except ReleaseError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
