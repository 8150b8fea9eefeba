"""What ``--worker`` takes: ``MODEL=URL[,ops=URL]``, and the ways to find workers in place of a URL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.errors import ConfigError
from headrace.router.discovery.target import ANY, Target
from headrace.wire.client import Origin

FORM = (
    "MODEL=http://host:port[,ops=http://host:port], MODEL=dns://service.namespace.svc or MODEL=k8s://namespace/service"
)


@dataclass(frozen=True, slots=True)
class Specification:
    """One entry, taken apart."""

    text: str
    model: str
    """The pool, or ``ANY``."""
    scheme: str
    """``http``, ``dns`` or ``k8s``."""
    address: str
    """The URL, or what stands behind the scheme."""
    ops: str | None


def parse(text: str) -> Specification:
    """Raises ConfigError for what does not have the form."""
    model, separator, rest = text.partition("=")
    address, *options = rest.split(",")
    ops = None
    for option in options:
        key, _, value = option.partition("=")
        if key != "ops" or not value:
            raise ConfigError(f"worker {text!r}: unknown option {option!r}; the form is {FORM}")
        ops = value
    if not separator or not model or not address:
        raise ConfigError(f"worker {text!r}: the form is {FORM}")
    scheme, found, behind = address.partition("://")
    if not found or scheme not in ("dns", "k8s"):
        return Specification(text, model, "http", address.rstrip("/"), ops.rstrip("/") if ops else None)
    if not behind.strip("/") or ops or (scheme == "k8s") != ("/" in behind.strip("/")):
        raise ConfigError(f"worker {text!r}: the form is {FORM}")
    return Specification(text, model, scheme, behind.strip("/"), None)


def static_targets(specifications: Iterable[Specification]) -> list[Target]:
    """The workers that have a URL. Raises ConfigError for a wrong one, and for what is there twice."""
    targets: list[Target] = []
    seen: set[tuple[str, str]] = set()
    for given in specifications:
        if given.scheme != "http":
            continue
        name = Origin(given.address).name
        if given.ops:
            Origin(given.ops)
        if (given.model, name) in seen:
            raise ConfigError(f"the worker {given.model}={given.address} is given twice")
        seen.add((given.model, name))
        targets.append(Target(given.address, given.ops, frozenset([given.model])))
    return targets


def named_pools(specifications: Iterable[Specification]) -> list[str]:
    """The pools that the entries name."""
    return list(dict.fromkeys(given.model for given in specifications if given.model != ANY))
