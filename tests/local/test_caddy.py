"""The real Caddy with the real Caddyfile, in front of a small upstream."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from headrace.local import caddy
from headrace.local.probe import unready
from headrace.wire.client import Origin, fetch
from headrace.wire.response import Answer
from tests.local.yard import free_port, until


class Upstream:
    """Stands where llm-api is: streams an event at a time, or never answers."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gone: list[str] = []
        self.next_event = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        self.seen.append(path)
        end = asyncio.create_task(reader.read(1))
        if path == "/v1/stream":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(b"9\r\ndata: 1\n\n\r\n")
            await self.next_event.wait()
            writer.write(b"9\r\ndata: 2\n\n\r\n")
        elif path != "/v1/never":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await end
        self.gone.append(path)
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Upstream]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


class Web:
    """A running Caddy."""

    def __init__(self, port: int, ops_port: int) -> None:
        self.port = port
        self.page = Origin(f"http://127.0.0.1:{port}")
        self.ops = Origin(f"http://127.0.0.1:{ops_port}")

    async def get(self, path: str, headers: list[tuple[bytes, bytes]] | None = None) -> Answer:
        return await fetch(self.page, "GET", path, headers=headers, timeout=30)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html><title>page</title>")
    (root / "assets" / "app-1234.js").write_text("plain")
    (root / "assets" / "app-1234.js.gz").write_bytes(gzip.compress(b"packed"))
    return root


@asynccontextmanager
async def serving(site: Path, api: str, **changes: str) -> AsyncIterator[Web]:
    binary = caddy.binary()
    assert binary is not None
    port, ops_port = free_port(), free_port()
    environment = caddy.environment(
        host="127.0.0.1", port=port, ops_port=ops_port, api=api, root=site, state=site.parent / "caddy", grace=5
    )
    with (site.parent / "caddy.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *caddy.command(binary), env={**os.environ, **environment, **changes}, stdout=log, stderr=log
        )
    web = Web(port, ops_port)
    try:
        async with asyncio.timeout(30):
            while await unready(web.ops) is not None:
                assert process.returncode is None, (site.parent / "caddy.log").read_text()
                await asyncio.sleep(0.05)
        yield web
    finally:
        web.page.close()
        web.ops.close()
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)


async def test_serves_the_page_under_a_strict_policy(site: Path) -> None:
    async with serving(site, "127.0.0.1:1") as web:
        answer = await web.get("/")
    assert answer.status == 200
    assert b"<title>page</title>" in answer.body
    policy = answer.head.header(b"content-security-policy").decode()
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.head.header(b"x-content-type-options") == b"nosniff"
    assert answer.head.header(b"cache-control") == b"no-cache"
    assert answer.head.header(b"server") == b""


async def test_the_policy_can_admit_an_issuer(site: Path) -> None:
    async with serving(site, "127.0.0.1:1", HEADRACE_WEB_CONNECT="https://issuer.example") as web:
        policy = (await web.get("/")).head.header(b"content-security-policy")
    assert b"connect-src 'self' https://issuer.example;" in policy


async def test_assets_are_immutable_and_packed(site: Path) -> None:
    async with serving(site, "127.0.0.1:1") as web:
        plain = await web.get("/assets/app-1234.js")
        packed = await web.get("/assets/app-1234.js", [(b"accept-encoding", b"gzip")])
        missing = await web.get("/assets/app-0000.js")
    assert plain.body == b"plain"
    assert plain.head.header(b"cache-control") == b"public, max-age=31536000, immutable"
    assert gzip.decompress(packed.body) == b"packed"
    assert missing.status == 404
    assert missing.head.header(b"cache-control") == b"no-store"


async def test_configuration_comes_from_the_environment(site: Path) -> None:
    async with serving(site, "127.0.0.1:1", HEADRACE_WEB_CONFIG='{"version": "9", "x": {"y": "{env.HOME}"}}') as web:
        answer = await web.get("/config.json")
    assert answer.head.header(b"content-type") == b"application/json"
    assert json.loads(answer.body) == {"version": "9", "x": {"y": "{env.HOME}"}}


async def test_only_the_api_paths_go_to_llm_api(site: Path) -> None:
    paths = ["/v1/models", "/tokenize", "/detokenize", "/admin/v1/fleet"]
    async with Upstream().running() as upstream, serving(site, f"127.0.0.1:{upstream.port}") as web:
        for path in paths:
            assert (await web.get(path)).body == b"hi"
        assert (await web.get("/v1x")).status == 404
    assert upstream.seen == paths


async def test_links_are_taken_for_this_machine_only(site: Path) -> None:
    async with Upstream().running() as upstream:
        desk = {"HEADRACE_WEB_SIGN_IN": f"127.0.0.1:{upstream.port}"}
        async with serving(site, "127.0.0.1:1", **desk) as web:
            assert (await web.get("/sign-in")).body == b"hi"
            reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
            writer.write(b"GET /sign-in HTTP/1.1\r\nhost: rebound.example\r\n\r\n")
            assert b" 404 " in await reader.readline()
            writer.close()
    assert upstream.seen == ["/sign-in"]


async def test_without_the_api_there_is_only_the_page(site: Path) -> None:
    async with (
        Upstream().running() as upstream,
        serving(site, f"127.0.0.1:{upstream.port}", HEADRACE_WEB_ROUTES="page") as web,
    ):
        assert (await web.get("/")).status == 200
        assert (await web.get("/v1/models")).status == 404
    assert upstream.seen == []


async def test_events_are_passed_on_at_once(site: Path) -> None:
    async with Upstream().running() as upstream, serving(site, f"127.0.0.1:{upstream.port}") as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(b"GET /v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n")
        async with asyncio.timeout(30):
            await reader.readuntil(b"data: 1\n\n")
            upstream.next_event.set()
            await reader.readuntil(b"data: 2\n\n")
        writer.close()


@pytest.mark.parametrize("path", ["/v1/never", "/v1/stream"])
async def test_llm_api_learns_that_a_client_went_away(site: Path, path: str) -> None:
    async with Upstream().running() as upstream, serving(site, f"127.0.0.1:{upstream.port}") as web:
        upstream.next_event.set()
        _, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        await until(lambda: upstream.seen == [path])
        assert upstream.gone == []
        writer.close()
        await until(lambda: upstream.gone == [path])


async def test_an_llm_api_that_is_away_is_an_error_of_the_api(site: Path) -> None:
    async with serving(site, f"127.0.0.1:{free_port()}") as web:
        answer = await web.get("/v1/models")
    assert answer.status == 503
    assert answer.head.header(b"retry-after") == b"2"
    assert json.loads(answer.body)["error"]["code"] == "overloaded"


async def test_the_ops_port_has_metrics(site: Path) -> None:
    async with serving(site, "127.0.0.1:1") as web:
        await web.get("/")
        metrics = (await fetch(web.ops, "GET", "/metrics")).body.decode()
        assert 'caddy_http_requests_total{handler="vars",server="web"} 1' in metrics
        assert (await fetch(web.ops, "GET", "/")).status == 404


async def test_nothing_but_the_site_is_served(site: Path) -> None:
    (site.parent / "secret").write_text("no")
    async with serving(site, "127.0.0.1:1") as web:
        assert (await web.get("/../secret")).status in (400, 404)
        assert (await web.get("/%2e%2e/secret")).status in (400, 404)
