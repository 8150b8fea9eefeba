import subprocess
from pathlib import Path

import pytest

from benchmarks.gateway import nginx
from benchmarks.gateway.processes import free_ports


def _server(config: str, port: int) -> str:
    return config.split(f"listen 127.0.0.1:{port};")[1].split("server {", maxsplit=1)[0]


def test_each_port_has_its_worker() -> None:
    config = nginx.render(Path("/tmp/bench"), {7001: 9001, 7002: 9002}, streaming=set())
    assert "proxy_pass http://worker_7001;" in _server(config, 7001)
    assert "upstream worker_7001 {\n        server 127.0.0.1:9001;" in config
    assert "upstream worker_7002 {\n        server 127.0.0.1:9002;" in config


def test_only_streams_are_passed_on_unbuffered() -> None:
    config = nginx.render(Path("/tmp/bench"), {7001: 9001, 7002: 9002}, streaming={7002})
    assert "proxy_buffering on;" in _server(config, 7001)
    assert "proxy_buffering off;" in _server(config, 7002)


def test_it_is_a_plain_proxy_with_kept_alive_upstreams() -> None:
    config = nginx.render(Path("/tmp/bench"), {7001: 9001}, streaming=set())
    for line in ("worker_processes 1;", "access_log off;", "keepalive 256;", "proxy_http_version 1.1;"):
        assert line in config


def test_every_path_that_nginx_writes_lies_in_the_folder(tmp_path: Path) -> None:
    config = nginx.render(tmp_path, {7001: 9001}, streaming=set())
    paths = [word.rstrip(";") for line in config.splitlines() for word in line.split()[1:] if word.startswith("/")]
    written = [path for path in paths if path != "/"]
    assert len(written) == 6
    assert all(Path(path).parent == tmp_path for path in written)


@pytest.mark.skipif(nginx.binary() is None, reason="nginx is not installed")
def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    port, worker = free_ports(2)
    (tmp_path / "nginx.conf").write_text(nginx.render(tmp_path, {port: worker}, streaming={port}))
    done = subprocess.run(
        [*nginx.command(nginx.binary() or "", tmp_path), "-t"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
