"""The options that several commands have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.config import S, load

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with a section for each service.", show_default=False)
]
Port = Annotated[int | None, typer.Option("--port", help="Traffic port; 0 takes a free one.", show_default=False)]
OpsPort = Annotated[int | None, typer.Option("--ops-port", help="Ops port (health, metrics).", show_default=False)]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.", show_default=False)]
Processes = Annotated[
    int | None, typer.Option("--processes", help="Processes that share the traffic port.", show_default=False)
]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error.", show_default=False)]
ModelFolder = Annotated[Path | None, typer.Option("--model", help="Folder of the model.", show_default=False)]
UpModel = Annotated[
    list[str] | None,
    typer.Option(
        "--model", help="Serve this one: a hub id, a folder or a name in the store; repeatable.", show_default=False
    ),
]
Name = Annotated[str | None, typer.Option("--name", help="Name to serve the model under.", show_default=False)]
Executable = Annotated[
    Path | None, typer.Option("--executable", help="The engine's program, an absolute path.", show_default=False)
]
Context = Annotated[
    int | None, typer.Option("--context", help="Tokens of prompt and output together.", show_default=False)
]
TensorParallel = Annotated[
    int | None, typer.Option("--tensor-parallel", help="GPUs that each layer is spread over.", show_default=False)
]
EngineArguments = Annotated[
    list[str] | None, typer.Argument(help="After --: further arguments for the engine, verbatim.", show_default=False)
]
Models = Annotated[
    Path | None,
    typer.Option("--models", help="Folder of the models; else models/ under HEADRACE_HOME.", show_default=False),
]
Tenant = Annotated[str, typer.Option("--tenant", help="Name of the tenant.")]
Database = Annotated[
    str | None,
    typer.Option("--database", help="SQLAlchemy URL; else that of llm-api's settings.", show_default=False),
]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="inference, usage, admin:read or admin; may be given again.", show_default=False),
]
NoLimits = Annotated[bool, typer.Option("--no-limits", help="Take all limits away.")]
Rpm = Annotated[int | None, typer.Option("--rpm", help="Requests per minute.", show_default=False)]
Tpm = Annotated[int | None, typer.Option("--tpm", help="Tokens per minute.", show_default=False)]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", help="Requests at the same time.", show_default=False)
]
TokensPerDay = Annotated[int | None, typer.Option("--tokens-per-day", help="Of UTC.", show_default=False)]
TokensPerMonth = Annotated[int | None, typer.Option("--tokens-per-month", help="Of UTC.", show_default=False)]


@dataclass(frozen=True, slots=True)
class Given:
    """What a command was given of the options that it shares with others."""

    flags: Mapping[str, object]
    config: Path | None

    def load(self, kind: type[S], **more: object) -> S:
        """The settings of a service. Raises ConfigError."""
        return load(kind, file=self.config, flags={**self.flags, **more})


def of_service(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options that every service has; it takes them as ``given``."""
    return _shared(command, _service)


def of_worker(command: Callable[..., None]) -> Callable[..., None]:
    """The same for those of every worker."""
    return _shared(command, _worker)


def _service(
    port: Port = None,
    ops_port: OpsPort = None,
    host: Host = None,
    log_level: LogLevel = None,
    config: Config = None,
) -> None:
    """The options that every service has."""


def _worker(
    model: ModelFolder = None,
    name: Name = None,
    port: Port = None,
    ops_port: OpsPort = None,
    host: Host = None,
    log_level: LogLevel = None,
    config: Config = None,
) -> None:
    """The options that every worker has."""


def _shared(command: Callable[..., None], options: Callable[..., None]) -> Callable[..., None]:
    shared = inspect.signature(options, eval_str=True).parameters
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "given"]

    def run(**values: Any) -> None:
        flags = {name: values.pop(name) for name in shared}
        command(**values, given=Given(flags, flags.pop("config")))

    parameters = [*own, *shared.values()]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    setattr(run, "__signature__", inspect.Signature(parameters))  # noqa: B010  what typer reads, and mypy does not know
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
