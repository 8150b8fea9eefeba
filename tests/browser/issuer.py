"""A small OpenID provider: authorization code with PKCE, as RFC 7636 and OpenID Connect Core ask."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.threaded import Quiet, serving


class Issuer:
    """``tokens`` are the access tokens that it gave; ``page`` is the only address that it sends people back to."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.page = ""
        self.refuses = ""
        self._codes: dict[str, dict[str, str]] = {}
        self.url = ""

    @contextmanager
    def running(self) -> Iterator[Issuer]:
        with serving(self._handler()) as address:
            self.url = f"http://{address}"
            yield self

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser is sent."""
        assert asked["response_type"] == "code"
        assert asked["redirect_uri"] == self.page
        assert asked["code_challenge_method"] == "S256"
        if self.refuses:
            answer = {"error": "access_denied", "error_description": self.refuses, "state": asked["state"]}
            return f"{self.page}?{urlencode(answer)}"
        code = secrets.token_urlsafe()
        self._codes[code] = asked
        return f"{self.page}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchange(self, given: dict[str, str]) -> dict[str, object]:
        asked = self._codes.pop(given["code"])
        digest = hashlib.sha256(given["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
        assert given["client_id"] == asked["client_id"] == "page"
        token = secrets.token_urlsafe()
        self.tokens.add(token)
        claims = base64.urlsafe_b64encode(json.dumps({"nonce": asked["nonce"]}).encode()).rstrip(b"=").decode()
        return {"access_token": token, "id_token": f"e30.{claims}.x", "token_type": "Bearer", "expires_in": 300}

    def _handler(issuer) -> type[BaseHTTPRequestHandler]:  # noqa: N805  ``self`` is the request's
        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if url.path == "/.well-known/openid-configuration":
                    self.answer(
                        {
                            "issuer": issuer.url,
                            "authorization_endpoint": f"{issuer.url}/authorize",
                            "token_endpoint": f"{issuer.url}/token",
                        }
                    )
                    return
                self.send_response(302)
                self.send_header("location", issuer.authorize(_fields(url.query)))
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                self.answer(issuer.exchange(_fields(body)))

            def answer(self, document: dict[str, object]) -> None:
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("access-control-allow-origin", "*")
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

        return Handler


def _fields(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
