"""What the admin API takes and gives. Times are seconds since 1970."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from headrace.store.keys import Act, Key, Tenant
from headrace.store.usage import Usage

Name = Annotated[str, Meta(min_length=1, max_length=128, description="Printable characters.")]
Limits = Annotated[
    dict[str, int],
    Meta(
        description="requests_per_minute, tokens_per_minute, concurrency, tokens_per_day, tokens_per_month; "
        "what is not named is not limited."
    ),
]
Models = Annotated[
    Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=1000)] | None,
    Meta(description="Names that the key may use; null for all."),
]
Scopes = Annotated[list[str], Meta(max_length=10, description="Some of inference, usage, admin:read and admin.")]
Expiry = Annotated[float, Meta(ge=0, le=253402300799)] | None


class NewTenant(Struct, forbid_unknown_fields=True):
    name: Name
    limits: Limits = {}


class TenantChanges(Struct, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET


class NewKey(Struct, forbid_unknown_fields=True):
    tenant: Name
    """The tenant's id or name."""
    name: Name
    scopes: Scopes = field(default_factory=lambda: ["inference"])
    models: Models = None
    limits: Limits = {}
    expires_at: Expiry = None


class KeyChanges(Struct, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    models: Models | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    expires_at: Expiry | UnsetType = UNSET


class Rotation(Struct, forbid_unknown_fields=True):
    overlap: Annotated[float, Meta(ge=0, le=2_592_000)] = 86_400.0
    """Seconds for which the old secret still works."""


class TenantView(Struct):
    id: str
    name: str
    limits: dict[str, Any]
    created_at: float
    object: str = "tenant"

    @classmethod
    def of(cls, tenant: Tenant) -> TenantView:
        return cls(tenant.id, tenant.name, tenant.limits, tenant.created_at)


class KeyView(Struct):
    """A key without its secret."""

    id: str
    tenant: str
    name: str
    scopes: list[str]
    models: list[str] | None
    limits: dict[str, Any]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    previous_until: float | None
    """Until then the secret from before the last rotation works, too."""
    object: str = "key"

    @classmethod
    def of(cls, key: Key) -> KeyView:
        return cls(**{name: getattr(key, name) for name in cls.__struct_fields__ if name != "object"})


class KeyMade(KeyView):
    """The only answer that tells the key itself."""

    key: str = ""

    @classmethod
    def with_text(cls, key: Key, text: str) -> KeyMade:
        return cls(**msgspec.structs.asdict(KeyView.of(key)), key=text)


class TenantList(Struct):
    data: list[TenantView]
    has_more: bool
    object: str = "list"


class KeyList(Struct):
    data: list[KeyView]
    has_more: bool
    object: str = "list"


class AuditList(Struct):
    data: list[Act]
    has_more: bool
    object: str = "list"


class UsageList(Struct):
    data: list[Usage]
    has_more: bool
    object: str = "list"
