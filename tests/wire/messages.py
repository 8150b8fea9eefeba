"""Requests as bytes, a handler that echoes them, and what an error answer says."""

from __future__ import annotations

import json

from headrace.wire.exchange import Exchange
from tests.wire.peer import Reply

TEXT = [(b"content-type", b"text/plain")]


async def echo(exchange: Exchange) -> None:
    """Answers with what was understood of the request."""
    request = exchange.request
    line = f"{request.method} {request.path} ? ".encode() + request.query
    exchange.respond(200, TEXT, line + b" " + request.body)


def get(path: str = "/", *fields: str, version: str = "1.1") -> bytes:
    lines = "".join(f"{field}\r\n" for field in ("Host: x", *fields))
    return f"GET {path} HTTP/{version}\r\n{lines}\r\n".encode()


def post(body: bytes, *fields: str, version: str = "1.1") -> bytes:
    lines = "".join(f"{field}\r\n" for field in ("Host: x", f"Content-Length: {len(body)}", *fields))
    return f"POST /p HTTP/{version}\r\n{lines}\r\n".encode() + body


def code(reply: Reply) -> str:
    """The code of an error answer, whose shape is checked."""
    document = json.loads(reply.body)
    assert reply.headers["content-type"] == "application/json"
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "type", "param", "code"}
    found = document["error"]["code"]
    assert isinstance(found, str)
    return found
