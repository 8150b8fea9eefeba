"""``make rollback``: take one image of an environment back to an older tag, and keep the updater from bumping it again.

    make rollback ENV=staging IMAGE=router [TAG=v1.2.2]

Argo CD's own rollback and automated sync exclude each other, so a rollback is a change of two files: the tag in
envs/ENV/values.yaml goes back (to TAG, or to what it was before), and the tag that is left goes into ``ignoreTags`` of
the image's ImageUpdater. The files are changed and nothing is committed: look at the diff, commit, push.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


class RollbackError(Exception):
    """The message says what is wrong."""


def roll_back(root: Path, environment: str, image: str, tag: str | None) -> tuple[str, str]:
    """The tag that is left and the one that is taken."""
    values = root / "envs" / environment / "values.yaml"
    updaters = root / "deploy" / "argocd" / "image-updater" / f"{environment}.yaml"
    if not values.is_file() or not updaters.is_file():
        raise RollbackError(f"there is no environment {environment!r}: envs/ has the known ones")
    text = values.read_text()
    bad = _tag(text, image)
    good = tag or _previous(root, values, image, bad)
    if good == bad:
        raise RollbackError(f"{image} already is at {bad}")
    blocked = _block(updaters.read_text(), image, bad)
    values.write_text(_line(image).sub(rf"\g<1>{good}\g<3>", text))
    updaters.write_text(blocked)
    return bad, good


def _line(image: str) -> re.Pattern[str]:
    """The image's entry under ``images:``, written in one line or in several (the updater keeps either)."""
    return re.compile(
        rf"^(  {re.escape(image)}:(?:[^\n]*?|\n(?:    [^\n]*\n)*?    )tag: )([\w.-]+)([^\n]*)$", re.MULTILINE
    )


def _tag(text: str, image: str) -> str:
    found = _line(image).search(text)
    if found is None:
        raise RollbackError(f"the values have no tag of {image!r} under images:")
    return found[2]


def _previous(root: Path, values: Path, image: str, bad: str) -> str:
    """The last tag before this one, from the history of the file."""
    path = str(values.relative_to(root))
    commits = subprocess.run(
        ["git", "-C", str(root), "log", "--format=%H", "--", path], capture_output=True, text=True, check=True
    ).stdout.split()
    for commit in commits:
        old = subprocess.run(
            ["git", "-C", str(root), "show", f"{commit}:{path}"], capture_output=True, text=True, check=True
        ).stdout
        if (found := _line(image).search(old)) and found[2] != bad:
            return found[2]
    raise RollbackError(f"{path} never had another tag of {image}: name one with TAG=")


def _block(text: str, image: str, bad: str) -> str:
    """``ignoreTags`` of the image's entry, with ``bad`` in it."""
    entry = re.search(rf"- alias: {re.escape(image)}\n(?:.*\n)*?.*?ignoreTags: \[(.*?)\]", text)
    if entry is None:
        raise RollbackError(f"no ImageUpdater has {image!r} with ignoreTags")
    known = [part.strip() for part in entry[1].split(",") if part.strip()]
    tags = ", ".join(dict.fromkeys([*known, bad]))
    return text[: entry.start(1)] + tags + text[entry.end(1) :]


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    environment, image = sys.argv[1:3]
    try:
        bad, good = roll_back(Path.cwd(), environment, image, sys.argv[3] if len(sys.argv) == 4 else None)
    except RollbackError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    print(f"{image} in {environment}: {bad} -> {good}, and the updater ignores {bad} from now on.")
    print(f'Now: git diff && git commit -am "Roll {image} in {environment} back to {good}" && git push')
    return 0


if __name__ == "__main__":
    sys.exit(main())
