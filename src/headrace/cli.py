"""The ``headrace`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from headrace import __version__
from headrace.config import ApiSettings, BertWorkerSettings, CpuWorkerSettings, RouterSettings, Settings, load
from headrace.errors import ConfigError, HeadraceError, ModelError

app = typer.Typer(
    name="headrace",
    help="Serve language models on your own machines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
worker_app = typer.Typer(help="Run one worker.", no_args_is_help=True)
models_app = typer.Typer(help="Get and check models.", no_args_is_help=True)
app.add_typer(worker_app, name="worker")
app.add_typer(models_app, name="models")

S = TypeVar("S", bound=Settings)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with a section for each service.", show_default=False)
]
PortOption = Annotated[int | None, typer.Option("--port", help="Traffic port; 0 takes a free one.", show_default=False)]
OpsPort = Annotated[int | None, typer.Option("--ops-port", help="Ops port (health, metrics).", show_default=False)]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default=False)]
Processes = Annotated[
    int | None, typer.Option("--processes", help="Processes that share the traffic port.", show_default=False)
]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error.", show_default=False)]
ModelFolder = Annotated[Path | None, typer.Option("--model", help="Folder of the model.", show_default=False)]
Name = Annotated[str | None, typer.Option("--name", help="Name to serve the model under.", show_default=False)]


def _settings(kind: type[S], config: Path | None, **flags: Any) -> S:
    return load(kind, file=config, flags=flags)


def _version(value: bool) -> None:
    if value:
        Console().print(f"headrace {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def api(
    router: Annotated[
        list[str] | None, typer.Option("--router", help="Address of a router; may be given again.", show_default=False)
    ] = None,
    port: PortOption = None,
    ops_port: OpsPort = None,
    host: Host = None,
    processes: Processes = None,
    log_level: LogLevel = None,
    config: Config = None,
) -> None:
    """Run llm-api: the endpoint that clients talk to."""
    from headrace.api.app import serve  # noqa: PLC0415  each command imports only what it runs

    serve(
        _settings(
            ApiSettings,
            config,
            router=router or None,
            port=port,
            ops_port=ops_port,
            host=host,
            processes=processes,
            log_level=log_level,
        )
    )


@app.command()
def router(
    worker: Annotated[
        list[str] | None,
        typer.Option("--worker", help="MODEL=URL[,ops=URL]; may be given again.", show_default=False),
    ] = None,
    port: PortOption = None,
    ops_port: OpsPort = None,
    host: Host = None,
    processes: Processes = None,
    log_level: LogLevel = None,
    config: Config = None,
) -> None:
    """Run the router: it sends every request to the best worker."""
    from headrace.router.app import serve  # noqa: PLC0415

    serve(
        _settings(
            RouterSettings,
            config,
            workers=worker or None,
            port=port,
            ops_port=ops_port,
            host=host,
            processes=processes,
            log_level=log_level,
        )
    )


@worker_app.command("cpu")
def worker_cpu(
    model: ModelFolder = None,
    name: Name = None,
    port: PortOption = None,
    ops_port: OpsPort = None,
    host: Host = None,
    log_level: LogLevel = None,
    config: Config = None,
) -> None:
    """Run a language model on the CPU with OpenVINO GenAI."""
    from headrace.workers.cpu.app import serve  # noqa: PLC0415

    serve(
        _settings(
            CpuWorkerSettings,
            config,
            model=model,
            name=name,
            port=port,
            ops_port=ops_port,
            host=host,
            log_level=log_level,
        )
    )


@worker_app.command("bert")
def worker_bert(
    model: ModelFolder = None,
    name: Name = None,
    port: PortOption = None,
    ops_port: OpsPort = None,
    host: Host = None,
    log_level: LogLevel = None,
    config: Config = None,
) -> None:
    """Run an embedding model."""
    from headrace.workers.bert.app import serve  # noqa: PLC0415

    serve(
        _settings(
            BertWorkerSettings,
            config,
            model=model,
            name=name,
            port=port,
            ops_port=ops_port,
            host=host,
            log_level=log_level,
        )
    )


def main() -> None:
    """Run the command; errors of ours are one plain message, not a traceback."""
    try:
        app(standalone_mode=True)
    except (ConfigError, ModelError) as error:
        _complain(error)
        sys.exit(2)
    except HeadraceError as error:
        _complain(error)
        sys.exit(1)


def _complain(error: HeadraceError) -> None:
    Console(stderr=True).print(f"[bold red]headrace:[/] {error}", highlight=False, soft_wrap=True)
