"""Tokens of a real provider's making: keys, discovery and JWKS over HTTP on this machine."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from headrace.api.jwks import Jwks, fetch_url
from headrace.api.oidc import Oidc
from headrace.config import ApiSettings, load
from headrace.errors import ConfigError, Overloaded, Unauthorized
from tests.api.conftest import CHAT, Api, StartApi, StartRouter, error

AUDIENCE = "https://headrace.example"


class Provider:
    """An OpenID provider that signs what it is asked to."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.keys: dict[str, Any] = {}
        self.down = False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetched.append(self.path)
                body = json.dumps(provider.document(self.path)).encode()
                self.send_response(500 if provider.down else 200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.rotate("first")

    def rotate(self, kid: str) -> None:
        self.keys = {kid: ec.generate_private_key(ec.SECP256R1())}

    def document(self, path: str) -> dict[str, Any]:
        if path.endswith("openid-configuration"):
            return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
        keys = []
        for kid, key in self.keys.items():
            algorithm = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else None
            to_jwk = (algorithm or jwt.algorithms.RSAAlgorithm).to_jwk
            keys.append({**json.loads(to_jwk(key.public_key())), "kid": kid, "use": "sig"})
        return {"keys": keys}

    def token(self, *, kid: str = "", typ: str = "at+jwt", alg: str = "ES256", **claims: Any) -> str:
        kid = kid or next(iter(self.keys))
        now = time.time()
        payload = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ada", "exp": now + 60, "tenant": "acme", **claims}
        payload = {name: value for name, value in payload.items() if value is not None}
        return jwt.encode(payload, self.keys[kid], alg, headers={"kid": kid, "typ": typ})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


def settings(provider: Provider) -> dict[str, Any]:
    return {"oidc_issuer": provider.issuer, "oidc_audience": AUDIENCE}


@pytest.fixture
async def api(start_api: StartApi, start_router: StartRouter, provider: Provider) -> Api:
    return await start_api(await start_router("m"), **settings(provider))


async def test_a_token_acts_for_its_tenant(api: Api, provider: Provider) -> None:
    assert (await api.post(key=provider.token())).status == 200
    record = (await api.records(1))[0]
    tenant = api.service._store.tenant("acme")
    assert (record["tenant"], record["key"]) == (tenant.id, "oidc:ada")
    assert (await api.post(key=provider.token(tenant=tenant.id))).status == 200


async def test_a_valid_token_is_verified_once(api: Api, provider: Provider) -> None:
    token = provider.token()
    for _ in range(3):
        assert (await api.post(key=token)).status == 200
    assert provider.fetched == ["/.well-known/openid-configuration", "/keys"]
    assert api.service._keys._oidc is not None
    assert len(api.service._keys._oidc._known) == 1


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "exp"),
        ({"aud": "https://other.example"}, "udience"),
        ({"iss": "https://other.example"}, "ssuer"),
        ({"sub": None}, "sub"),
        ({"nbf": 4_000_000_000}, "not yet valid"),
        ({"nonce": "n"}, "ID token"),
        ({"at_hash": "h"}, "ID token"),
        ({"token_use": "id"}, "ID token"),
        ({"typ": "id+jwt"}, "not an access token"),
        ({"tenant": None}, "claim 'tenant'"),
        ({"tenant": 7}, "claim 'tenant'"),
    ],
)
async def test_tokens_that_are_not_for_us_are_refused(
    api: Api, provider: Provider, claims: dict[str, Any], words: str
) -> None:
    reply = await api.post(key=provider.token(**claims))
    assert reply.status == 401
    assert words in error(reply)["message"]


async def test_forged_tokens_are_refused(api: Api, provider: Provider) -> None:
    public = provider.keys["first"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    good = provider.token()
    head, payload, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"first"}').decode().rstrip("=")
    hmac_head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first"}').decode().rstrip("=")
    import hashlib
    import hmac

    mac = hmac.digest(pem, f"{hmac_head}.{payload}".encode(), hashlib.sha256)
    confused = f"{hmac_head}.{payload}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    claims = jwt.decode(good, options={"verify_signature": False})
    stranger = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "first"})
    changed = f"{head}.{payload}.{signature[:-4]}AAAA"
    for token in (f"{none}.{payload}.", confused, stranger, changed, "eyJ.eyJ.x", f"eyJ{'a' * 9000}.b.c"):
        assert (await api.post(key=token)).status == 401


async def test_a_tenant_that_is_not_here_is_told(api: Api, provider: Provider) -> None:
    reply = await api.post(key=provider.token(tenant="nobody"))
    assert reply.status == 403
    assert "nobody" in error(reply)["message"]


async def test_scopes_of_a_token(api: Api, provider: Provider) -> None:
    admin = provider.token(scope="openid headrace:admin")
    assert (await api.get("/admin/v1/tenants", key=admin)).status == 200
    assert (await api.post(key=admin)).status == 403
    assert (await api.get("/admin/v1/tenants", key=provider.token(scp=["headrace:inference"]))).status == 403
    assert (await api.get("/admin/v1/tenants", key=provider.token(scope="admin"))).status == 403


async def test_token_cannot_make_a_batch_and_is_told_what_can(api: Api, provider: Provider) -> None:
    """A batch outlives every token, and nobody could revoke what it goes on with."""
    body = {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h"}
    reply = await api.post(body, path="/v1/batches", key=provider.token())
    assert (reply.status, "API key" in error(reply)["message"]) == (403, True)
    assert (await api.get("/v1/batches", key=provider.token())).status == 200


async def test_limits_of_the_tenant_hold(api: Api, provider: Provider) -> None:
    api.service._store.create_tenant("small", limits={"requests_per_minute": 1}, actor="test")
    await api.service._keys.refresh()
    tokens = [provider.token(tenant="small", sub=name) for name in ("ada", "bob")]
    assert [(await api.post(key=token)).status for token in tokens] == [200, 429]


async def test_without_a_provider_no_token_is_accepted(
    start_api: StartApi, start_router: StartRouter, provider: Provider
) -> None:
    api = await start_api(await start_router("m"))
    assert (await api.post(key=provider.token())).status == 401


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_rotated_keys_are_found_and_unknown_ones_cause_few_fetches(provider: Provider) -> None:
    clock = Clock()
    jwks = Jwks(provider.issuer, f"{provider.issuer}/keys", clock=clock)
    assert await jwks.find("first") is not None
    provider.rotate("second")
    for _ in range(20):
        assert await jwks.find("second") is None
    assert len(provider.fetched) == 1
    clock.now += 10
    assert await jwks.find("second") is not None
    assert await jwks.find("first") is None
    assert len(provider.fetched) == 2


async def test_keys_that_the_provider_withdrew_are_gone_in_time(provider: Provider) -> None:
    clock = Clock()
    jwks = Jwks(provider.issuer, f"{provider.issuer}/keys", clock=clock)
    await jwks.find("first")
    provider.rotate("second")
    clock.now += 599
    assert await jwks.find("first") is not None
    assert len(provider.fetched) == 1
    clock.now += 2
    await jwks.find("first")  # nobody waits for the fetch that this begins
    assert jwks._fetching is not None
    await jwks._fetching
    assert await jwks.find("first") is None


async def test_old_keys_are_used_while_the_provider_is_away(provider: Provider) -> None:
    clock = Clock()
    jwks = Jwks(provider.issuer, f"{provider.issuer}/keys", clock=clock)
    await jwks.find("first")
    provider.down = True
    clock.now += 3600
    assert await jwks.find("first") is not None
    assert jwks._fetching is not None
    await jwks._fetching
    assert await jwks.find(None) is not None
    assert len(provider.fetched) == 2


async def test_a_provider_that_never_answered_is_our_fault(provider: Provider) -> None:
    provider.down = True
    oidc = Oidc(load(ApiSettings, flags=settings(provider), env=False))
    with pytest.raises(Overloaded):
        await oidc.verify(provider.token().encode())


@pytest.mark.parametrize(
    "document",
    [
        b"[]",
        b'{"keys":[1]}',
        b'{"keys":' + b"[" * 100_000,
        b"\xff",
        http.client.IncompleteRead(b""),
        "a list as key id",
    ],
    ids=["list", "no key", "deep", "no text", "cut", "key id"],
)
async def test_a_provider_that_answers_nonsense_is_our_fault(provider: Provider, document: Any) -> None:
    if isinstance(document, str):
        [key] = provider.document("/keys")["keys"]
        document = json.dumps({"keys": [{**key, "kid": ["first"]}]}).encode()

    def fetch(url: str) -> bytes:
        if isinstance(document, Exception):
            raise document
        return bytes(document)

    for url in ("", f"{provider.issuer}/keys"):
        with pytest.raises(Overloaded):
            await Jwks(provider.issuer, url, fetch=fetch).find("first")


async def test_a_token_that_is_remembered_expires(provider: Provider) -> None:
    clock = Clock()
    clock.now = time.time()
    oidc = Oidc(load(ApiSettings, flags=settings(provider), env=False), clock=clock)
    token = provider.token().encode()
    await oidc.verify(token)
    clock.now += 61
    with pytest.raises(Unauthorized, match="expired"):
        await oidc.verify(token)


async def test_an_algorithm_that_was_not_allowed_is_refused(provider: Provider) -> None:
    provider.keys["rsa"] = rsa.generate_private_key(65537, 2048)
    both = load(ApiSettings, flags=settings(provider), env=False)
    one = load(ApiSettings, flags={**settings(provider), "oidc_algorithms": ["ES256"]}, env=False)
    token = provider.token(kid="rsa", alg="RS256").encode()
    assert (await Oidc(both).verify(token)).who == "oidc:ada"
    with pytest.raises(Unauthorized, match="algorithm"):
        await Oidc(one).verify(token)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"oidc_audience": ""}, "oidc_audience"),
        ({"oidc_algorithms": ["HS256"]}, "oidc_algorithms"),
        ({"oidc_algorithms": []}, "oidc_algorithms"),
        ({"oidc_issuer": "http://elsewhere.example"}, "https://"),
        ({"oidc_jwks": "file:///etc/passwd"}, "https://"),
    ],
)
def test_wrong_settings_are_told(wrong: dict[str, Any], words: str) -> None:
    good = {"oidc_issuer": "https://idp.example", "oidc_audience": AUDIENCE}
    with pytest.raises(ConfigError, match=words):
        Oidc(load(ApiSettings, flags={**good, **wrong}, env=False))


def test_a_document_without_end_is_not_read(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.api.jwks._LARGEST", 10)
    with pytest.raises(ValueError, match="larger than"):
        fetch_url(f"{provider.issuer}/keys")
