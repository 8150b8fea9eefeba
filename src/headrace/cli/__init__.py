"""The ``headrace`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from headrace import __version__
from headrace.cli import keys, models, services, simulate, usage
from headrace.errors import ApiError, HeadraceError

app = typer.Typer(
    name="headrace",
    help="Serve language models on your own machines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(services.up)
app.add_typer(models.app, name="models")
app.add_typer(keys.keys, name="keys")
app.add_typer(keys.tenants, name="tenants")
app.command()(usage.usage)
app.add_typer(keys.db, name="db")
app.command()(services.api)
app.add_typer(services.router, name="router")
app.add_typer(services.worker, name="worker")
app.command()(simulate.simulate)


def _version(value: bool) -> None:
    if value:
        Console().print(f"headrace {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; an error of ours is one plain message, never a traceback."""
    try:
        app()
    except HeadraceError as error:
        _complain(error.message if isinstance(error, ApiError) else str(error))
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        _complain(f"{error.name} is not installed; this command needs more of Headrace: pip install 'headrace[local]'")
        sys.exit(1)
    except OSError as error:  # the disk is full, a folder may not be written to: nothing that a traceback explains
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        sys.exit(1)


def _complain(text: str) -> None:
    console = Console(stderr=True)
    for line in text.splitlines():
        console.print(f"headrace: {line}", style="red", highlight=False, soft_wrap=True, markup=False)
