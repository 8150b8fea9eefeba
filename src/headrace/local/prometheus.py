"""Prometheus beside the platform on this machine: its command line, and what it is to scrape."""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headrace.errors import ConfigError

NODE_EXPORTER = "127.0.0.1:9100"
"""Where node-exporter listens if nobody told it otherwise."""
NAMESPACE = "local"
"""What stands for the namespace that targets have on a cluster."""

MEMORY_MIB = 256
"""About what it takes."""
_RETENTION = ("7d", "512MB")
_SAMPLES_PER_SCRAPE = 50_000
_SAMPLES_PER_QUERY = 5_000_000
_LOOK = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """A service of the platform, by its ops port."""

    job: str
    name: str
    ops_port: int

    @property
    def labels(self) -> dict[str, str]:
        """The same as on a cluster, where they come from the pod."""
        return {"namespace": NAMESPACE, "pod": self.name}


def binary() -> str:
    """Prometheus' program. Raises ConfigError where there is none."""
    found = shutil.which("prometheus")
    if found is None:
        raise ConfigError(
            "monitoring needs the program prometheus, which is not on the PATH; install it (Debian and Ubuntu: "
            "apt-get install prometheus; Homebrew: brew install prometheus) or leave --monitoring out"
        )
    return found


def rules() -> Path:
    """The folder of the shipped rules: inside an installed package, or in a checkout."""
    here = Path(__file__)
    installed = here.with_name("rules")
    return installed if installed.is_dir() else here.parents[3] / "deploy" / "monitoring" / "rules"


def command(program: str, *, file: Path, data: Path, port: int) -> tuple[str, ...]:
    """It listens on loopback alone, since it asks nobody for a key; disk, samples and queries are bounded."""
    age, size = _RETENTION
    return (
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={data}",
        f"--storage.tsdb.retention.time={age}",
        f"--storage.tsdb.retention.size={size}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--query.max-samples={_SAMPLES_PER_QUERY}",
        "--query.max-concurrency=4",
        "--enable-feature=exemplar-storage",  # the trace of a slow request
    )


def environment() -> dict[str, str]:
    """Go's collector works harder near this, so that memory stays about there."""
    return {"GOMEMLIMIT": f"{MEMORY_MIB}MiB"}


def configuration(targets: Sequence[Target], *, exporters: Mapping[str, str], interval: float) -> str:
    """The text of prometheus.yml.

    ``exporters``: host:port by job; ``interval``: seconds between two scrapes, and two evaluations of the rules.
    """
    jobs: dict[str, list[dict[str, Any]]] = {}
    for target in targets:
        static = {"targets": [f"127.0.0.1:{target.ops_port}"], "labels": target.labels}
        jobs.setdefault(target.job, []).append(static)
    for job, address in exporters.items():
        jobs.setdefault(job, []).append({"targets": [address]})
    pace = f"{round(interval * 1000)}ms"
    content = {
        "global": {"scrape_interval": pace, "scrape_timeout": pace, "evaluation_interval": pace},
        "rule_files": [f"{rules()}/*.yaml"],
        "scrape_configs": [
            {
                "job_name": job,
                "sample_limit": _SAMPLES_PER_SCRAPE,
                "body_size_limit": "16MB",
                "honor_labels": job in exporters,  # kube-state-metrics speaks of other namespaces and pods than its own
                "static_configs": static,
            }
            for job, static in jobs.items()
        ],
    }
    return yaml.safe_dump(content, sort_keys=False)


def node_exporter(address: str = NODE_EXPORTER) -> str:
    """``address`` if a node-exporter answers there, else nothing."""
    connection = http.client.HTTPConnection(address, timeout=1)
    try:
        connection.request("GET", "/metrics")
        found = b"node_exporter_build_info" in connection.getresponse().read(_LOOK)
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    return address if found else ""
