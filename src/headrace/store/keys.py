"""Tenants and their keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from headrace.errors import ConfigError, InvalidRequest, NotFound
from headrace.store.database import Database, default_url
from headrace.store.limits import quota
from headrace.store.schema import AuditRow, KeyRow, StateRow, TenantRow
from headrace.store.secret import MAX_KEY, Pepper, id_of, load_pepper, new_id, new_key

INFERENCE = "inference"
"""Use models."""
USAGE = "usage"
"""Read what the own tenant used."""
READ = "admin:read"
"""Read everything that administrators see."""
ADMIN = "admin"
"""Administer, and all of the above but inference."""
SCOPES = (INFERENCE, USAGE, READ, ADMIN)

_MONTH = 30 * 86400.0
_REMEMBERED = 7 * 86400.0  # how long a dead key is still told apart from an unknown one


class Tenant(Struct, frozen=True):
    """Who owns keys."""

    id: str
    name: str
    limits: dict[str, Any]
    created_at: float


class Key(Struct, frozen=True):
    """One key, without its secret. Times are seconds since 1970."""

    id: str
    tenant: str
    """The tenant's id."""
    name: str
    digest: bytes
    scopes: list[str]
    created_at: float
    limits: dict[str, Any]
    models: list[str] | None = None
    """Names that the key may use; None for all."""
    expires_at: float | None = None
    revoked_at: float | None = None
    previous_digest: bytes | None = None
    """The hash from before the last rotation, valid until ``previous_until``."""
    previous_until: float | None = None
    tenant_limits: dict[str, Any] = {}
    """Only known of ``KeyStore.current``'s keys."""


class Act(Struct, frozen=True):
    """One record of the audit."""

    id: int
    at: float
    """Seconds since 1970."""
    actor: str
    """A key's id, ``oidc:`` and a subject, or ``system``: the command line."""
    action: str
    tenant: str | None
    target: str
    """The id of the key or tenant."""
    detail: dict[str, Any]
    """What was given."""


class KeyStore:
    """The keys in the database. Every method blocks and may raise StoreError: call it in a thread.

    ``actor`` is who asked for a change: a key's id, or ``system``.
    """

    def __init__(self, database: Database, pepper: Pepper, *, clock: Callable[[], float] = time.time) -> None:
        self.pepper = pepper
        self.database = database
        self._clock = clock

    @classmethod
    def open(cls, home: Path, *, database: str = "", pepper: str = "") -> KeyStore:
        """The store of this installation; what is not given lies under ``home``.

        SQLite is upgraded here, for nobody else would; PostgreSQL by ``headrace db upgrade``.
        """
        store = Database(database or default_url(home))
        if store.embedded:
            store.upgrade()
        return cls(store, Pepper(pepper) if pepper else load_pepper(home))

    def bootstrap(self, key: str | None = None) -> str | None:
        """Make the first tenant and an admin key, unless there is a key already.

        Returns the key's text, which is not kept, or None where nothing was to do. ``key`` is taken as it is,
        whatever its form; None makes a random one.
        """
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key and 0 < len(key) <= MAX_KEY):
            raise ConfigError(f"HEADRACE_BOOTSTRAP_KEY: must be 1 to {MAX_KEY} printable ASCII characters, no spaces")
        key_id = (id_of(key) if key else None) or new_id()
        text = key or new_key(key_id)
        with self.database.write() as session:
            self._state(session, lock=True)
            if session.scalars(select(KeyRow.id).limit(1)).first() is not None:
                return None
            self._change(session)
            tenant = session.scalars(select(TenantRow).where(TenantRow.name == "default")).first()
            tenant = tenant or self._add_tenant(session, "default", {}, "system")
            self._add_key(
                session, self._row(tenant.id, "first key", (INFERENCE, ADMIN), id=key_id, text=text), "system"
            )
        return text

    def create_tenant(self, name: str, *, limits: dict[str, Any] | None = None, actor: str) -> Tenant:
        _check_name(name)
        quota.check(limits or {})
        with self.database.write() as session:
            self._change(session)
            self._check_free(session, name)
            return _tenant(self._add_tenant(session, name, limits or {}, actor))

    def update_tenant(
        self, tenant: str, *, name: str | None = None, limits: dict[str, Any] | None = None, actor: str
    ) -> Tenant:
        """Change what is given; limits are replaced as a whole."""
        changes: dict[str, Any] = {}
        if name is not None:
            _check_name(name)
            changes["name"] = name
        if limits is not None:
            quota.check(limits)
            changes["limits"] = limits
        with self.database.write() as session:
            self._change(session)
            row = _find_tenant(session, tenant)
            if name is not None and name != row.name:
                self._check_free(session, name)
            _apply(row, changes)
            self._audit(session, actor, "tenant.update", row.id, row.id, changes)
            return _tenant(row)

    def tenant(self, tenant: str) -> Tenant:
        """The tenant with this id or name. Raises NotFound."""
        with self.database.read() as session:
            return _tenant(_find_tenant(session, tenant))

    def tenant_page(self, *, limit: int, after: str | None = None) -> list[Tenant]:
        """Tenants by name, behind the one with the id ``after``."""
        query = select(TenantRow).order_by(TenantRow.name).limit(limit)
        with self.database.read() as session:
            if after is not None:
                query = query.where(TenantRow.name > _find_tenant(session, after).name)
            return [_tenant(row) for row in session.scalars(query)]

    def tenants(self) -> list[Tenant]:
        """All tenants, by name."""
        with self.database.read() as session:
            return [_tenant(row) for row in session.scalars(select(TenantRow).order_by(TenantRow.name))]

    def create(
        self,
        tenant: str,
        name: str,
        *,
        actor: str,
        scopes: Iterable[str] = (INFERENCE,),
        models: Iterable[str] | None = None,
        limits: dict[str, Any] | None = None,
        expires_at: float | None = None,
    ) -> tuple[Key, str]:
        """A new key of the tenant with this id or name, and its text, which is shown once and not kept."""
        key_id = new_id()
        text = new_key(key_id)
        row = self._row(tenant, name, scopes, id=key_id, text=text)
        row.models = None if models is None else list(models)
        row.limits = limits or {}
        row.expires_at = expires_at
        self._check(row)
        with self.database.write() as session:
            self._change(session)
            row.tenant_id = _find_tenant(session, tenant).id
            self._add_key(session, row, actor)
            return _key(row), text

    def update(self, key_id: str, changes: dict[str, Any], *, actor: str) -> Key:
        """Change ``name``, ``scopes``, ``models``, ``limits`` or ``expires_at``; each is replaced as a whole."""
        with self.database.write() as session:
            self._change(session)
            row = _find(session, key_id)
            expires_at = row.expires_at
            _apply(row, changes)
            if row.expires_at == expires_at:
                row.expires_at = None  # one that has passed already need not lie in the future
            self._check(row)
            row.expires_at = changes.get("expires_at", expires_at)
            self._audit(session, actor, "key.update", row.tenant_id, key_id, changes)
            return _key(row)

    def key(self, key_id: str) -> Key:
        """Raises NotFound."""
        with self.database.read() as session:
            return _key(_find(session, key_id))

    def key_page(self, *, limit: int, after: str | None = None, tenant: str | None = None) -> list[Key]:
        """Keys, the oldest first, behind the one with the id ``after``."""
        query = select(KeyRow).order_by(KeyRow.created_at, KeyRow.id).limit(limit)
        with self.database.read() as session:
            if tenant is not None:
                query = query.where(KeyRow.tenant_id == _find_tenant(session, tenant).id)
            if after is not None:
                last = _find(session, after)
                query = query.where(tuple_(KeyRow.created_at, KeyRow.id) > tuple_(last.created_at, last.id))
            return [_key(row) for row in session.scalars(query)]

    def audit_page(self, *, limit: int, before: int | None = None, tenant: str | None = None) -> list[Act]:
        """What was done, the last first, before the act with the id ``before``."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(AuditRow.id < before)
        if tenant is not None:
            query = query.where(AuditRow.tenant_id == tenant)
        with self.database.read() as session:
            return [
                Act(row.id, row.at, row.actor, row.action, row.tenant_id, row.target, row.detail)
                for row in session.scalars(query)
            ]

    def rotate(self, key_id: str, *, overlap: float = 86400.0, actor: str) -> tuple[Key, str]:
        """Give a key a new secret; the old one works for ``overlap`` seconds more, an older one no longer."""
        if not 0 <= overlap <= _MONTH:
            raise InvalidRequest(f"overlap: must be between 0 and {_MONTH:.0f} seconds.", param="overlap")
        text = new_key(key_id)
        with self.database.write() as session:
            self._change(session)
            row = _find(session, key_id)
            if row.revoked_at is not None:
                raise InvalidRequest(f"The key {key_id} is revoked; create a new one.", param="key_id")
            row.previous_digest, row.previous_until = row.digest, self._clock() + overlap
            row.digest = self.pepper.digest(text.encode())
            self._audit(session, actor, "key.rotate", row.tenant_id, key_id, {"overlap": overlap})
            return _key(row), text

    def revoke(self, key_id: str, *, actor: str) -> Key:
        """End a key at once; to do it twice changes nothing."""
        with self.database.write() as session:
            row = _find(session, key_id)
            if row.revoked_at is None:
                self._change(session)
                row.revoked_at = self._clock()
                self._audit(session, actor, "key.revoke", row.tenant_id, key_id, {})
            return _key(row)

    def keys(self, tenant: str | None = None) -> list[Key]:
        """All keys, or a tenant's, the oldest first."""
        query = select(KeyRow).order_by(KeyRow.created_at, KeyRow.id)
        if tenant is not None:
            query = query.where(KeyRow.tenant_id == tenant)
        with self.database.read() as session:
            return [_key(row) for row in session.scalars(query)]

    def revision(self) -> int:
        """Grows with every change; raises ConfigError where the keys were hashed with another pepper."""
        with self.database.read() as session:
            return self._state(session).revision

    def current(self) -> tuple[int, list[Key]]:
        """The revision and the keys of that revision, or later, without those that died long ago."""
        oldest = self._clock() - _REMEMBERED
        query = select(KeyRow).where(
            (KeyRow.revoked_at.is_(None) | (KeyRow.revoked_at > oldest))
            & (KeyRow.expires_at.is_(None) | (KeyRow.expires_at > oldest))
        )
        with self.database.read() as session:
            revision = self._state(session).revision
            rows = session.scalars(query).all()
            limits = {row.id: row.limits for row in session.scalars(select(TenantRow))}
            return revision, [_key(row, limits[row.tenant_id]) for row in rows]

    def close(self) -> None:
        self.database.close()

    def _check_free(self, session: Session, name: str) -> None:
        if session.scalars(select(TenantRow.id).where(TenantRow.name == name)).first() is not None:
            raise InvalidRequest(f"name: there is a tenant {name!r} already.", param="name")

    def _change(self, session: Session) -> None:
        """Number this change; the row's lock puts changes in order."""
        state = self._state(session, lock=True)
        state.revision += 1
        state.pepper = self.pepper.fingerprint

    def _state(self, session: Session, *, lock: bool = False) -> StateRow:
        query = select(StateRow)
        state = session.scalars(query.with_for_update() if lock else query).one()
        if state.pepper not in {None, self.pepper.fingerprint}:
            raise ConfigError("the pepper is not the one that the keys in the database were made with; restore it")
        return state

    def _row(self, tenant: str, name: str, scopes: Iterable[str], *, id: str, text: str) -> KeyRow:
        return KeyRow(
            id=id,
            tenant_id=tenant,
            name=name,
            digest=self.pepper.digest(text.encode()),
            scopes=list(scopes),
            limits={},
            created_at=self._clock(),
        )

    def _check(self, row: KeyRow) -> None:
        _check_name(row.name)
        quota.check(row.limits)
        unknown = [scope for scope in row.scopes if scope not in SCOPES]
        if unknown or not row.scopes:
            raise InvalidRequest(f"scopes: must be some of {', '.join(SCOPES)}.", param="scopes")
        if row.models is not None and not all(row.models):
            raise InvalidRequest("models: must not hold an empty name.", param="models")
        if row.expires_at is not None and row.expires_at <= self._clock():
            raise InvalidRequest("expires_at: must lie in the future.", param="expires_at")

    def _add_tenant(self, session: Session, name: str, limits: dict[str, Any], actor: str) -> TenantRow:
        row = TenantRow(id=new_id(), name=name, limits=limits, created_at=self._clock())
        session.add(row)
        session.flush()
        self._audit(session, actor, "tenant.create", row.id, row.id, {"name": name, "limits": limits})
        return row

    def _add_key(self, session: Session, row: KeyRow, actor: str) -> None:
        session.add(row)
        session.flush()
        names = ("name", "scopes", "models", "limits", "expires_at")
        detail = {name: getattr(row, name) for name in names}
        self._audit(session, actor, "key.create", row.tenant_id, row.id, detail)

    def _audit(
        self, session: Session, actor: str, action: str, tenant: str | None, target: str, detail: dict[str, Any]
    ) -> None:
        session.add(
            AuditRow(at=self._clock(), actor=actor, action=action, tenant_id=tenant, target=target, detail=detail)
        )


def _find(session: Session, key_id: str) -> KeyRow:
    row = session.get(KeyRow, key_id)
    if row is None:
        raise NotFound(f"There is no key with the id {key_id!r}.", param="key_id")
    return row


def _find_tenant(session: Session, tenant: str) -> TenantRow:
    """By its id or its name."""
    row = session.get(TenantRow, tenant)
    row = row or session.scalars(select(TenantRow).where(TenantRow.name == tenant)).first()
    if row is None:
        raise NotFound(f"There is no tenant {tenant!r}.", param="tenant")
    return row


def _apply(row: KeyRow | TenantRow, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(row, name, value)


def _check_name(name: str) -> None:
    if not (0 < len(name) <= 128 and name.isprintable()):
        raise InvalidRequest("name: must have 1 to 128 printable characters.", param="name")


def _tenant(row: TenantRow) -> Tenant:
    return Tenant(row.id, row.name, row.limits, row.created_at)


def _key(row: KeyRow, tenant_limits: dict[str, Any] | None = None) -> Key:
    return Key(
        id=row.id,
        tenant=row.tenant_id,
        name=row.name,
        digest=row.digest,
        scopes=row.scopes,
        models=row.models,
        limits=row.limits,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        previous_digest=row.previous_digest,
        previous_until=row.previous_until,
        tenant_limits=tenant_limits or {},
    )
