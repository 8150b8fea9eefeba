"""Which handler answers which method and path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from headrace.errors import MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from headrace.wire.exchange import Exchange

Handler = Callable[["Exchange"], Awaitable[None]]


_ANY = "*"


class Routes:
    """Exact paths first, then the longest matching prefix, then the fallback.

    A path that ends in ``/`` is a prefix: ``/v1/models/`` takes ``/v1/models/org/name``. Where there is GET, there is
    HEAD; the exchange leaves the body out. What is mounted at a prefix gets every method.
    """

    def __init__(self, fallback: Handler | None = None) -> None:
        self._exact: dict[str, dict[str, Handler]] = {}
        self._prefixes: dict[str, dict[str, Handler]] = {}
        self._fallback = fallback

    def add(self, method: str, path: str, handler: Handler) -> None:
        table = self._prefixes if path.endswith("/") else self._exact
        table.setdefault(path, {})[method] = handler

    def mount(self, prefix: str, handler: Handler) -> None:
        """Leave all below ``prefix`` to the handler, which tells by itself what there is."""
        self._prefixes.setdefault(prefix, {})[_ANY] = handler

    def find(self, method: str, path: str) -> Handler:
        """The handler. Raises NotFound or MethodNotAllowed."""
        methods = self._exact.get(path) or self._by_prefix(path)
        if methods is None:
            if self._fallback is not None:
                return self._fallback
            raise NotFound(f"There is no {path} here. The API lives under /v1.", code="unknown_path")
        handler = methods.get(method) or methods.get(_ANY) or (methods.get("GET") if method == "HEAD" else None)
        if handler is None:
            raise MethodNotAllowed(f"{method} is not allowed on {path}.", allowed=sorted(methods))
        return handler

    def _by_prefix(self, path: str) -> dict[str, Handler] | None:
        if not self._prefixes:
            return None
        matches = [prefix for prefix in self._prefixes if path.startswith(prefix) and path != prefix]
        return self._prefixes[max(matches, key=len)] if matches else None
