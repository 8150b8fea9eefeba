"""The options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
Rpm = Annotated[int | None, typer.Option("--rpm", help="Requests per minute.", show_default=False)]
Tpm = Annotated[int | None, typer.Option("--tpm", help="Tokens per minute.", show_default=False)]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", help="Requests at the same time.", show_default=False)
]
TokensPerDay = Annotated[int | None, typer.Option("--tokens-per-day", help="Of UTC.", show_default=False)]
TokensPerMonth = Annotated[int | None, typer.Option("--tokens-per-month", help="Of UTC.", show_default=False)]
