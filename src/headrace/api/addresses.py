"""Where the routers are: a name that stands for several addresses, such as a headless Service, is several routers."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""From a name and a port to addresses. Raises OSError."""

_TIMEOUT = 5.0


class Addresses:
    """What the routers' URLs resolve to."""

    def __init__(self, urls: Sequence[str], resolve: Resolve | None = None) -> None:
        self._known: dict[str, tuple[str, ...]] = {url: (url,) for url in urls}
        self._resolve = resolve or resolve_name

    async def look(self) -> list[str]:
        """One URL for each address, sorted. Where a name does not resolve now, what it was last stays."""
        for url in self._known:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 80
            if _is_address(host):
                continue
            try:
                async with asyncio.timeout(_TIMEOUT):
                    found = await self._resolve(host, port)
            except (OSError, TimeoutError) as error:
                log.debug("name not resolved", extra={"router": host, "error": str(error)})
                continue
            self._known[url] = tuple(f"http://{_bracket(address)}:{port}" for address in found) or self._known[url]
        return sorted({address for addresses in self._known.values() for address in addresses})


async def resolve_name(host: str, port: int) -> list[str]:
    """By the system's resolver. IPv4 where there is any, so that one router with two families is one router."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families = {family for family, *_ in found}
    wanted = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    return sorted({str(address[0]) for family, _, _, _, address in found if family == wanted})


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address
