"""Bearer tokens of an OpenID provider: JWT access tokens (RFC 9068), verified here, whose claim names a tenant."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jwt
from msgspec import Struct

from headrace.api.jwks import Fetch, Jwks
from headrace.config import ApiSettings
from headrace.errors import ConfigError, Unauthorized
from headrace.store.keys import INFERENCE, SCOPES

MAX_TOKEN = 8192
"""Longest token, in bytes."""

_ASYMMETRIC = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
_LEEWAY = 30  # seconds that clocks may differ
_REMEMBERED = 10_000
_ACCESS = frozenset({"at+jwt", "application/at+jwt", "jwt"})
_ONLY_IN_ID_TOKENS = ("nonce", "at_hash", "c_hash", "s_hash")
_PREFIX = "headrace:"
_LONGEST_NAME = 128


class Claims(Struct, frozen=True):
    """What a valid token says."""

    tenant: str
    """The tenant's id or name."""
    who: str
    """``oidc:`` and the subject: what stands in the ledger and in the audit."""
    scopes: frozenset[str]
    expires: float
    """Seconds since 1970."""


class Oidc:
    """Verifies tokens; one that was valid is not verified again until it expires."""

    def __init__(
        self, settings: ApiSettings, *, fetch: Fetch | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Raises ConfigError."""
        wrong = sorted(set(settings.oidc_algorithms) - _ASYMMETRIC)
        if wrong or not settings.oidc_algorithms:
            raise ConfigError(f"oidc_algorithms: must be some of {', '.join(sorted(_ASYMMETRIC))}")
        if not settings.oidc_audience:
            raise ConfigError("oidc_audience: is required with oidc_issuer: a token is for somebody")
        self._issuer = settings.oidc_issuer
        self._audience = settings.oidc_audience
        self._algorithms = settings.oidc_algorithms
        self._tenant_claim = settings.oidc_tenant_claim
        self._jwks = Jwks(settings.oidc_issuer, settings.oidc_jwks, fetch=fetch)
        self._clock = clock
        self._known: OrderedDict[bytes, Claims] = OrderedDict()

    async def verify(self, token: bytes) -> Claims:
        """Raises Unauthorized, and Overloaded where the provider's keys are not known."""
        digest = hashlib.sha256(token).digest()
        known = self._known.get(digest)
        if known is not None:
            if known.expires <= self._clock():
                del self._known[digest]
                raise Unauthorized("This token has expired. Get a new one.")
            return known
        claims = self._read(await self._decode(token))
        self._known[digest] = claims
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return claims

    async def _decode(self, token: bytes) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            _check_header(header, self._algorithms)
            key = await self._jwks.find(header.get("kid"))
            if key is None:
                raise Unauthorized("This token is signed with a key that its issuer does not have.")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthorized("This token has expired. Get a new one.") from None
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Unauthorized(f"This token is not valid: {error}.") from None
        return claims

    def _read(self, claims: dict[str, Any]) -> Claims:
        if (
            any(name in claims for name in _ONLY_IN_ID_TOKENS)
            or str(claims.get("typ", "")).lower() == "id"
            or claims.get("token_use") == "id"
        ):
            raise Unauthorized("This is an ID token, which says who you are. Send the access token instead.")
        tenant = claims.get(self._tenant_claim)
        if not (isinstance(tenant, str) and 0 < len(tenant) <= _LONGEST_NAME):
            raise Unauthorized(f"This token has no claim {self._tenant_claim!r}, which names the tenant.")
        who = "".join(sign if sign.isprintable() else "?" for sign in f"oidc:{claims['sub']}")
        return Claims(tenant, who[:_LONGEST_NAME], _scopes(claims), float(claims["exp"]))


def is_token(key: bytes) -> bool:
    """Whether this has a JWT's form; an API key of ours has no dot."""
    return key[:3] == b"eyJ" and key.count(b".") == 2


def _check_header(header: dict[str, Any], algorithms: list[str]) -> None:
    if header.get("alg") not in algorithms:
        raise Unauthorized(f"This token is signed with an algorithm that is not allowed; {algorithms} are.")
    if str(header.get("typ", "JWT")).lower() not in _ACCESS:
        raise Unauthorized("This is not an access token.")
    if not isinstance(header.get("kid"), str | None):
        raise Unauthorized("This token's key id is not a string.")


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """``headrace:admin`` and the like, of ``scope`` or ``scp``; without any of them: inference."""
    told = claims.get("scope", claims.get("scp", ""))
    words = told.split() if isinstance(told, str) else [word for word in told or () if isinstance(word, str)]
    ours = frozenset(word.removeprefix(_PREFIX) for word in words if word.startswith(_PREFIX))
    return ours.intersection(SCOPES) if ours else frozenset({INFERENCE})
