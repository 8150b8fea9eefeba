"""``python -m scripts.setup local|dev``, from the top of the checkout; see scripts/bootstrap.sh."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scripts.setup.environment import EXTRAS, Environment
from scripts.setup.errors import SetupError
from scripts.setup.lock import exclusive


def main(arguments: list[str], root: Path) -> int:
    if len(arguments) != 1 or arguments[0] not in EXTRAS:
        print(f"usage: scripts/bootstrap.sh {'|'.join(EXTRAS)}", file=sys.stderr)
        return 2
    extra = arguments[0]
    try:
        with exclusive(root / ".cache" / "setup.lock"):
            environment = Environment(root, named=bool(os.environ.get("PYTHON")))
            if not environment.ready(extra):
                environment.prepare(extra)
    except SetupError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nheadrace: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
