"""nginx as the yardstick: a plain proxy, as cheap as nginx can be without changing what passes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from string import Template

_MAIN = Template(
    """\
daemon off;
worker_processes $processes;
pid $folder/nginx.pid;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_max_body_size 8m;
    client_body_buffer_size 1m;  # no files for what fits
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
$servers}
"""
)

_SERVER = Template(
    """\
    upstream worker_$port {
        server 127.0.0.1:$upstream;
        keepalive 256;
        keepalive_requests 1000000;
    }
    server {
        listen 127.0.0.1:$port;
        location / {
            proxy_pass http://worker_$port;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering $buffering;
        }
    }
"""
)


def binary() -> str | None:
    """Debian keeps nginx where only root's PATH looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")


def render(folder: Path, upstreams: Mapping[int, int], streaming: set[int], processes: int = 1) -> str:
    """The configuration: a server on each port of ``upstreams``, in front of the worker on the port it maps to.

    Ports in ``streaming`` pass each piece on as it comes; the others gather an answer before they send it.
    """
    servers = "".join(
        _SERVER.substitute(port=port, upstream=upstream, buffering="off" if port in streaming else "on")
        for port, upstream in upstreams.items()
    )
    return _MAIN.substitute(folder=folder, servers=servers, processes=processes)


def command(executable: str, folder: Path) -> list[str]:
    return [executable, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
