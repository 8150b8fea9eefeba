"""The options that several commands have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.config import S, load
from headrace.store.limits.quota import Quota

Command = Callable[..., None]

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


def of_service(command: Command) -> Command:
    """Give ``command`` the options that every service has; it takes them as ``given``."""
    return _shared(command, [_service], "given", _given)


def of_worker(command: Command) -> Command:
    """The same for those of every worker."""
    return _shared(command, [_worker, _service], "given", _given)


def of_engine(command: Command) -> Command:
    """The same for those of every worker whose engine is a program of its own."""
    return _shared(command, [_worker, _engine, _service], "given", _given)


def with_limits(command: Command) -> Command:
    """Give ``command`` the options for limits; it takes them as ``limits``, as the store takes and checks them."""
    return _shared(command, [_limits], "limits", lambda values: Quota(*values.values()).to_dict())


def _given(values: dict[str, Any]) -> Given:
    config = values.pop("config")
    return Given({name: None if value == [] else value for name, value in values.items()}, config)


# What each group of options is: the parameters of a function that nobody calls.


def _service(
    port: Port = None,
    ops_port: OpsPort = None,
    host: Host = None,
    log_level: LogLevel = None,
    config: Config = None,
) -> None: ...


def _worker(model: ModelFolder = None, name: Name = None) -> None: ...


def _engine(
    executable: Executable = None,
    context: Context = None,
    tensor_parallel: TensorParallel = None,
    arguments: EngineArguments = None,
) -> None: ...


def _limits(
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    tokens_per_day: TokensPerDay = None,
    tokens_per_month: TokensPerMonth = None,
) -> None: ...


def _shared(
    command: Command, groups: Sequence[Command], name: str, build: Callable[[dict[str, Any]], object]
) -> Command:
    """``command`` with the parameters of ``groups`` instead of ``name``, which ``build`` makes of their values."""
    shared = {
        option: parameter
        for group in groups
        for option, parameter in inspect.signature(group, eval_str=True).parameters.items()
    }
    own = inspect.signature(command, eval_str=True).parameters

    def run(**values: Any) -> None:
        given = {option: values.pop(option) for option in shared}
        command(**values, **{name: build(given)})

    parameters = [*(parameter for parameter in own.values() if parameter.name != name), *shared.values()]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    setattr(run, "__signature__", inspect.Signature(parameters))  # noqa: B010  what typer reads, and mypy does not know
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
