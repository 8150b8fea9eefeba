"""Tenants and keys."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct

from headrace.api.admin.call import LIMIT, Action, Call, page
from headrace.api.admin.shapes import (
    AuditList,
    KeyChanges,
    KeyList,
    KeyMade,
    KeyView,
    NewKey,
    NewTenant,
    Rotation,
    TenantChanges,
    TenantList,
    TenantView,
)
from headrace.api.openapi import Operation, Parameter
from headrace.store.keys import ADMIN, READ, KeyStore

_WRITE = frozenset({ADMIN})
_READ = frozenset({ADMIN, READ})
_AFTER = Parameter("after")
_TENANT = Parameter("tenant")
_KEY_ID = (Parameter("key_id", "path"),)
_TENANT_ID = (Parameter("tenant_id", "path"),)
_BEFORE = Parameter("before", schema={"type": "integer", "minimum": 1})
_MOST_ID = 2**31 - 1


class Identities:
    """All of it is on the store, which writes the audit."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    def actions(self) -> list[Action]:
        tenants, keys = "/admin/v1/tenants", "/admin/v1/keys"
        tenant, key = f"{tenants}/{{tenant_id}}", f"{keys}/{{key_id}}"
        return [
            Action(
                Operation("GET", tenants, "Tenants, by name", answer=TenantList, parameters=(LIMIT, _AFTER)),
                _READ,
                self._tenants,
            ),
            Action(Operation("POST", tenants, "Make a tenant", NewTenant, TenantView, 201), _WRITE, self._make_tenant),
            Action(Operation("GET", tenant, "A tenant", answer=TenantView, parameters=_TENANT_ID), _READ, self._tenant),
            Action(
                Operation("PATCH", tenant, "Change a tenant", TenantChanges, TenantView, parameters=_TENANT_ID),
                _WRITE,
                self._change_tenant,
            ),
            Action(
                Operation("GET", keys, "Keys, the oldest first", answer=KeyList, parameters=(LIMIT, _AFTER, _TENANT)),
                _READ,
                self._keys,
            ),
            Action(Operation("POST", keys, "Make a key; it is told once", NewKey, KeyMade, 201), _WRITE, self._make),
            Action(Operation("GET", key, "A key", answer=KeyView, parameters=_KEY_ID), _READ, self._key),
            Action(
                Operation("PATCH", key, "Change a key", KeyChanges, KeyView, parameters=_KEY_ID), _WRITE, self._change
            ),
            Action(
                Operation("POST", f"{key}/rotate", "Give a key a new secret", Rotation, KeyMade, parameters=_KEY_ID),
                _WRITE,
                self._rotate,
            ),
            Action(
                Operation("POST", f"{key}/revoke", "End a key at once", answer=KeyView, parameters=_KEY_ID),
                _WRITE,
                self._revoke,
            ),
            Action(
                Operation(
                    "GET",
                    "/admin/v1/audit",
                    "What administrators did, the last first",
                    answer=AuditList,
                    parameters=(LIMIT, _BEFORE, _TENANT),
                ),
                _READ,
                self._audit,
            ),
        ]

    def _tenants(self, call: Call) -> TenantList:
        limit = call.limit()
        found, more = page(self._store.tenant_page(limit=limit + 1, after=call.query.get("after")), limit)
        return TenantList([TenantView.of(tenant) for tenant in found], more)

    def _make_tenant(self, call: Call) -> TenantView:
        body = call.decode(NewTenant)
        return TenantView.of(self._store.create_tenant(body.name, limits=body.limits, actor=call.actor))

    def _tenant(self, call: Call) -> TenantView:
        return TenantView.of(self._store.tenant(call.path["tenant_id"]))

    def _change_tenant(self, call: Call) -> TenantView:
        changes = _given(call.decode(TenantChanges))
        return TenantView.of(self._store.update_tenant(call.path["tenant_id"], **changes, actor=call.actor))

    def _keys(self, call: Call) -> KeyList:
        limit = call.limit()
        keys = self._store.key_page(limit=limit + 1, after=call.query.get("after"), tenant=call.query.get("tenant"))
        found, more = page(keys, limit)
        return KeyList([KeyView.of(key) for key in found], more)

    def _make(self, call: Call) -> KeyMade:
        fields = msgspec.structs.asdict(call.decode(NewKey))
        key, text = self._store.create(fields.pop("tenant"), fields.pop("name"), actor=call.actor, **fields)
        return KeyMade.with_text(key, text)

    def _key(self, call: Call) -> KeyView:
        return KeyView.of(self._store.key(call.path["key_id"]))

    def _change(self, call: Call) -> KeyView:
        return KeyView.of(self._store.update(call.path["key_id"], _given(call.decode(KeyChanges)), actor=call.actor))

    def _rotate(self, call: Call) -> KeyMade:
        overlap = call.decode(Rotation).overlap
        return KeyMade.with_text(*self._store.rotate(call.path["key_id"], overlap=overlap, actor=call.actor))

    def _revoke(self, call: Call) -> KeyView:
        return KeyView.of(self._store.revoke(call.path["key_id"], actor=call.actor))

    def _audit(self, call: Call) -> AuditList:
        limit = call.limit()
        before = call.number("before", 0, least=1, most=_MOST_ID) or None
        acts = self._store.audit_page(limit=limit + 1, before=before, tenant=call.query.get("tenant"))
        return AuditList(*page(acts, limit))


def _given(changes: Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
