"""What verifies keys without the database: an immutable map in memory, and a signed copy of it on disk."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable
from hmac import compare_digest
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from headrace.errors import StoreError
from headrace.store.keys import ADMIN, Key, Tenant
from headrace.store.limits.quota import Subject, subject
from headrace.store.secret import Pepper

MAX_AGE = 24 * 3600.0
"""Seconds that a snapshot may be believed after the database was last seen."""

_FORMAT = 1
_HANDLE = 16  # bytes of a hash that find a key; the whole hash is then compared in constant time


class Principal(Struct, frozen=True):
    """Who is asking."""

    key_id: str
    key_name: str
    tenant: str
    scopes: frozenset[str]
    models: frozenset[str] | None
    """Names that may be used; None for all."""
    limits: dict[str, Any]
    admin: bool
    subjects: tuple[Subject, ...] = ()
    """The key and the tenant, as far as they are limited."""

    def allows(self, model: str) -> bool:
        return self.models is None or model in self.models


class Credential(Struct, frozen=True):
    """One text that a key is, or was, known by."""

    digest: bytes
    principal: Principal
    expires: float
    """Seconds since 1970; infinite where it never does."""
    replaced: bool
    """From before the last rotation."""
    revoked: bool


class Snapshot:
    """All keys of one revision."""

    __slots__ = ("_by_id", "_credentials", "_subjects", "_tenants", "keys", "revision", "tenants")

    def __init__(self, revision: int, keys: Iterable[Key], tenants: Iterable[Tenant] = ()) -> None:
        self.revision = revision
        self.keys = tuple(keys)
        self.tenants = tuple(tenants)
        self._tenants = {one.name: one for one in self.tenants} | {one.id: one for one in self.tenants}
        self._by_id: dict[str, Credential] | None = None
        limits = {one.id: one.limits for one in self.tenants} | {key.tenant: key.tenant_limits for key in self.keys}
        self._subjects = {id: subject("tenant", id, id, those) for id, those in limits.items()}
        self._credentials = {
            credential.digest[:_HANDLE]: credential
            for key in self.keys
            for credential in _credentials(key, self._subjects[key.tenant])
        }

    def __len__(self) -> int:
        return len(self.keys)

    def principal(self, tenant: str, who: str, scopes: frozenset[str]) -> Principal | None:
        """Somebody without a key, of the tenant with this id or name; None where there is no such tenant."""
        found = self._tenants.get(tenant)
        if found is None:
            return None
        limited = self._subjects[found.id]
        return Principal(
            key_id=who,
            key_name=who,
            tenant=found.id,
            scopes=scopes,
            models=None,
            limits={},
            admin=ADMIN in scopes,
            subjects=() if limited is None else (limited,),
        )

    def find(self, digest: bytes) -> Credential | None:
        """The credential with this hash."""
        credential = self._credentials.get(digest[:_HANDLE])
        if credential is None or not compare_digest(credential.digest, digest):
            return None
        return credential

    def named(self, key_id: str) -> Credential | None:
        """The current credential of the key with this id."""
        if self._by_id is None:
            current = (one for one in self._credentials.values() if not one.replaced)
            self._by_id = {one.principal.key_id: one for one in current}
        return self._by_id.get(key_id)


class _File(Struct):
    format: int
    revision: int
    saved_at: float
    keys: list[Key]
    tenants: list[Tenant] = []


def save(snapshot: Snapshot, saved_at: float, path: Path, pepper: Pepper) -> None:
    """Replace the file in one step; ``saved_at`` is when the database confirmed it (since 1970). Raises OSError."""
    document = _File(_FORMAT, snapshot.revision, saved_at, list(snapshot.keys), list(snapshot.tenants))
    content = msgspec.json.encode(document)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".snapshot-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pepper.sign(content).hex().encode() + b"\n" + content)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def load(path: Path, pepper: Pepper, now: float) -> tuple[Snapshot, float]:
    """The snapshot in the file and when it was saved.

    Raises StoreError where there is none, or none that may be believed at ``now``.
    """
    try:
        signature, _, content = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
    if not compare_digest(signature, pepper.sign(content).hex().encode()):
        raise StoreError(f"{path}: is not signed with this pepper; it was changed, or belongs to another installation")
    try:
        file = msgspec.json.decode(content, type=_File)
    except msgspec.ValidationError as error:
        raise StoreError(f"{path}: was written by a version that this one cannot read: {error}") from None
    if file.format != _FORMAT:
        raise StoreError(f"{path}: has the format {file.format}; this version reads {_FORMAT}")
    if now - file.saved_at > MAX_AGE:
        raise StoreError(f"{path}: is older than {MAX_AGE / 3600:.0f} hours")
    return Snapshot(file.revision, file.keys, file.tenants), file.saved_at


def _credentials(key: Key, tenant: Subject | None) -> Iterable[Credential]:
    limited = (subject("key", key.id, key.tenant, key.limits), tenant)
    principal = Principal(
        key_id=key.id,
        key_name=key.name,
        tenant=key.tenant,
        scopes=frozenset(key.scopes),
        models=None if key.models is None else frozenset(key.models),
        limits=key.limits,
        admin=ADMIN in key.scopes,
        subjects=tuple(one for one in limited if one is not None),
    )
    expires = math.inf if key.expires_at is None else key.expires_at
    revoked = key.revoked_at is not None
    yield Credential(key.digest, principal, expires, replaced=False, revoked=revoked)
    if key.previous_digest is not None and key.previous_until is not None:
        yield Credential(
            key.previous_digest, principal, min(expires, key.previous_until), replaced=True, revoked=revoked
        )
