"""The public keys of an OpenID provider: fetched, kept, and fetched again when they are rotated (RFC 7517)."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import jwt

from headrace.errors import ConfigError, Overloaded

Fetch = Callable[[str], bytes]
"""From a URL to the document there. Blocks; raises OSError, HTTPException and ValueError."""

_FRESH = 600.0
"""Seconds after which the keys are fetched again."""
_GAP = 10.0
"""Seconds between two fetches: an unknown key id, which anybody can send, causes no more."""
_LARGEST = 1024 * 1024
_TIMEOUT = 5.0
_FAILURES = (OSError, http.client.HTTPException, ValueError, TypeError, RecursionError, jwt.PyJWTError)
"""Of the way to the provider, and of documents that are not what they should be."""

_log = logging.getLogger(__name__)


class Jwks:
    """One fetch at a time, which all who need it share. Old keys are used for as long as there are no new ones."""

    def __init__(
        self, issuer: str, url: str = "", *, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``url``: empty to find it by discovery. Raises ConfigError for an address that is not private."""
        for address in filter(None, (issuer, url)):
            _check(address)
        self._issuer = issuer
        self._url = url
        self._fetch = fetch or fetch_url
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key with this id; without an id, the only one. Raises Overloaded where no keys are known at all."""
        now = self._clock()
        known = self._get(key_id)
        if known is None:
            await self._refresh(now)
            known = self._get(key_id)
        elif now - self._fetched > _FRESH:
            self._begin(now)  # in the background: the old key is good until the new ones are there
        if not self._keys:
            raise Overloaded("Tokens cannot be verified right now. Try again soon.", retry_after=_GAP)
        return known

    def _get(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _refresh(self, now: float) -> None:
        self._begin(now)
        if self._fetching is not None:
            await asyncio.shield(self._fetching)

    def _begin(self, now: float) -> None:
        if (self._fetching is None or self._fetching.done()) and now - self._tried >= _GAP:
            self._tried = now
            self._fetching = asyncio.create_task(self._load())

    async def _load(self) -> None:
        try:
            keys = await asyncio.to_thread(self._read)
        except _FAILURES as error:
            _log.warning("the OpenID provider's keys cannot be read", extra={"reason": str(error)})
            return
        self._keys, self._fetched = keys, self._clock()

    def _read(self) -> dict[str | None, jwt.PyJWK]:
        url = self._url
        if not url:
            document = _object(self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"))
            if document.get("issuer") != self._issuer:
                raise ValueError(f"the provider calls itself {document.get('issuer')!r}, not {self._issuer!r}")
            url = _checked(document.get("jwks_uri"))
        found = jwt.PyJWKSet.from_dict(_object(self._fetch(url)))
        return {key.key_id: key for key in found.keys if key.public_key_use in {"sig", None}}


def fetch_url(url: str) -> bytes:
    """At most a megabyte, within five seconds a read."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310  the scheme was checked
        data: bytes = answer.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"{url} is larger than {_LARGEST} bytes")
    return data


def _object(text: bytes) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("the provider's document is not a JSON object")
    return found


def _checked(url: Any) -> str:
    if not isinstance(url, str):
        raise ValueError("the provider names no jwks_uri")
    try:
        _check(url)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return url


def _check(url: str) -> None:
    parts = urlsplit(url)
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ConfigError(f"oidc: {url!r} must start with https://; http:// is for this machine alone")
