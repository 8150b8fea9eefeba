"""``headrace up``, ``api``, ``router`` and ``worker``. Each command imports only what it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace import config as settings
from headrace.cli import options

worker = typer.Typer(help="Run one worker.", no_args_is_help=True)
router = typer.Typer(invoke_without_command=True)


def up(
    port: Annotated[int | None, typer.Option("--port", help="Port of llm-api.", show_default=False)] = None,
    web_port: Annotated[int | None, typer.Option("--web-port", help="Port of the page.", show_default=False)] = None,
    host: options.Host = None,
    web: Annotated[bool | None, typer.Option("--web/--no-web", help="Serve the page.", show_default=False)] = None,
    models: options.Models = None,
    model: options.UpModel = None,
    monitoring: Annotated[
        bool | None,
        typer.Option("--monitoring/--no-monitoring", help="Run Prometheus beside it.", show_default=False),
    ] = None,
    prometheus_port: Annotated[
        int | None, typer.Option("--prometheus-port", help="Port of Prometheus.", show_default=False)
    ] = None,
    config: options.Config = None,
) -> None:
    """Run the whole platform on this machine: llm-api, router, workers and the page."""
    from headrace.local.up import run  # noqa: PLC0415

    workers = [{"model": name} for name in model or []] or None
    flags = {"port": port, "web_port": web_port, "host": host, "web": web, "models": models, "workers": workers}
    flags |= {"monitoring": monitoring, "prometheus_port": prometheus_port}
    raise typer.Exit(run(settings.load(settings.UpSettings, file=config, flags=flags), config))


@options.of_service
def api(
    given: options.Given,
    router: Annotated[
        list[str] | None, typer.Option("--router", help="Address of a router; may be given again.", show_default=False)
    ] = None,
    processes: options.Processes = None,
) -> None:
    """Run llm-api: the endpoint that clients talk to."""
    from headrace.api.app import serve  # noqa: PLC0415

    serve(given.load(settings.ApiSettings, processes=processes, router=router or None))


@router.callback()
@options.of_service
def run_router(
    context: typer.Context,
    given: options.Given,
    worker: Annotated[
        list[str] | None,
        typer.Option(
            "--worker",
            help="MODEL=URL[,ops=URL], MODEL=dns://NAME or MODEL=k8s://NAMESPACE/SERVICE; may be given again.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="How a worker is chosen, such as latency.", show_default=False)
    ] = None,
    processes: options.Processes = None,
) -> None:
    """Run the router: it sends every request to the best worker."""
    if context.invoked_subcommand is not None:
        return
    from headrace.router.app import serve  # noqa: PLC0415

    serve(given.load(settings.RouterSettings, processes=processes, workers=worker or None, profile=profile))


@router.command()
def replay(
    log: Annotated[Path, typer.Argument(help="A decision log (the router's setting decision_log).")],
    profile: Annotated[list[str], typer.Option("--profile", help="The other profile; may be given again.")],
    config: options.Config = None,
) -> None:
    """Make the decisions of a log again by another profile, and compare."""
    from headrace.router.commands import replay as run  # noqa: PLC0415

    run(log, profile, settings.load(settings.RouterSettings, file=config).profiles)


@worker.command("cpu")
@options.of_worker
def worker_cpu(given: options.Given) -> None:
    """Run a language model on the CPU with OpenVINO GenAI."""
    from headrace.workers.cpu.app import serve  # noqa: PLC0415

    serve(given.load(settings.CpuWorkerSettings))


@worker.command("bert")
@options.of_worker
def worker_bert(given: options.Given) -> None:
    """Run an embedding model."""
    from headrace.workers.bert.app import serve  # noqa: PLC0415

    serve(given.load(settings.BertWorkerSettings))


@worker.command("vllm")
@options.of_engine
def worker_vllm(given: options.Given) -> None:
    """Run a language model with vLLM, which is installed in an environment of its own."""
    from headrace.workers.vllm.engine import serve  # noqa: PLC0415

    serve(given.load(settings.VllmWorkerSettings))


@worker.command("trt")
@options.of_engine
def worker_trt(given: options.Given) -> None:
    """Run a language model with TensorRT-LLM, which is installed in an environment of its own."""
    from headrace.workers.trt.engine import serve  # noqa: PLC0415

    serve(given.load(settings.TrtWorkerSettings))
