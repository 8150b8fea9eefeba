"""Workers from the command line or the configuration: ``MODEL=URL[,ops=URL]``."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.errors import ConfigError
from headrace.router.worker import Worker

FORM = "MODEL=http://host:port[,ops=http://host:port]"


def static_workers(specifications: Iterable[str]) -> list[Worker]:
    """Raises ConfigError for what does not have the form, or is there twice."""
    workers = [_worker(specification) for specification in specifications]
    seen: set[tuple[str, str]] = set()
    for worker in workers:
        if (worker.pool, worker.name) in seen:
            raise ConfigError(f"the worker {worker.pool}={worker.url} is given twice")
        seen.add((worker.pool, worker.name))
    return workers


def _worker(specification: str) -> Worker:
    model, separator, rest = specification.partition("=")
    url, *options = rest.split(",")
    ops = None
    for option in options:
        key, _, value = option.partition("=")
        if key != "ops" or not value:
            raise ConfigError(f"worker {specification!r}: unknown option {option!r}; the form is {FORM}")
        ops = value
    if not separator or not model or not url:
        raise ConfigError(f"worker {specification!r}: the form is {FORM}")
    return Worker(model, url.rstrip("/"), ops.rstrip("/") if ops else None)
