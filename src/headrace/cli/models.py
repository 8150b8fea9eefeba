"""``headrace models``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from headrace.cli import options
from headrace.cli.tables import wide

app = typer.Typer(help="Get, list and check models.", no_args_is_help=True)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="demo, or an id on the Hugging Face hub: organisation/model[@revision].")],
    models: options.Models = None,
) -> None:
    """Fetch a model. What is there already is not fetched again."""
    from headrace.models import commands  # noqa: PLC0415

    commands.pull(name, models, Console(stderr=True))


@app.command("list")
def list_(models: options.Models = None) -> None:
    """Show the models, their sizes and which engine can serve them."""
    from headrace.models import commands  # noqa: PLC0415

    commands.list_models(models, wide())


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="Only this model.", show_default=False)] = None,
    models: options.Models = None,
) -> None:
    """Read every file again and compare its checksum."""
    from headrace.models import commands  # noqa: PLC0415

    commands.verify(name, models, Console())
