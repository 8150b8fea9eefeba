"""``headrace keys``, ``tenants`` and ``db``: straight on the store, for those who have its pepper."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from headrace.cli import options
from headrace.cli.tables import show, table
from headrace.config import ApiSettings, home, load
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.store.keys import Key, KeyStore

keys = typer.Typer(help="Make, list, rotate and revoke API keys.", no_args_is_help=True)
tenants = typer.Typer(help="Make and list tenants.", no_args_is_help=True)
db = typer.Typer(help="Look after the database.", no_args_is_help=True)

_ACTOR = "system"
_DAY = 86400.0

KeyId = Annotated[str, typer.Argument(help="The key's id: the part between the dashes of hr-ID-SECRET.")]


@keys.command("create")
@options.with_limits
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    limits: dict[str, int],
    tenant: options.Tenant = "default",
    model: Annotated[list[str] | None, typer.Option("--model", help="A model it may use; else all.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may administer, too.")] = False,
    scope: options.Scopes = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, max=36_500, help="Days until it expires; else never.")
    ] = None,
    config: options.Config = None,
    database: options.Database = None,
) -> None:
    """Make a key. It is shown once and not kept."""
    scopes = [*(scope or ["inference"]), *(["admin"] if admin else [])]
    expires = None if days is None else time.time() + days * _DAY
    with _store(config, database) as store:
        owner = _tenant_id(store, tenant)
        _, text = store.create(
            owner, name, actor=_ACTOR, scopes=scopes, models=model or None, limits=limits, expires_at=expires
        )
    Console(stderr=True).print("Keep this key: it is not shown again.")
    Console().print(text, highlight=False, soft_wrap=True)


@keys.command("list")
def list_keys(config: options.Config = None, database: options.Database = None) -> None:
    """Show all keys, without their secrets."""
    with _store(config, database) as store:
        owners = {tenant.id: tenant.name for tenant in store.tenants()}
        listed = table("id", "name", "tenant", "scopes", "models", "state")
        for key in store.keys():  # noqa: SIM118  a query, not a dict
            models = "all" if key.models is None else ", ".join(key.models)
            listed.add_row(key.id, key.name, owners[key.tenant], ", ".join(key.scopes), models, _state(key))
    show(listed)


@keys.command("update")
@options.with_limits
def update_key(
    key_id: KeyId,
    limits: dict[str, int],
    name: Annotated[str | None, typer.Option("--name", help="What it is for.", show_default=False)] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="The models it may use, all of them.")] = None,
    all_models: Annotated[bool, typer.Option("--all-models", help="It may use every model.")] = False,
    scope: options.Scopes = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, max=36_500, help="Days from now until it expires.")
    ] = None,
    never: Annotated[bool, typer.Option("--never-expires")] = False,
    no_limits: options.NoLimits = False,
    config: options.Config = None,
    database: options.Database = None,
) -> None:
    """Change a key; what is not given stays. Limits that are given replace all of its limits."""
    changes: dict[str, Any] = {"name": name, "models": model or None, "scopes": scope or None, "limits": limits or None}
    changes["expires_at"] = None if days is None else time.time() + days * _DAY
    changes = {field: value for field, value in changes.items() if value is not None}
    if all_models:
        changes["models"] = None
    if never:
        changes["expires_at"] = None
    if no_limits:
        changes["limits"] = {}
    if not changes:
        raise ConfigError("nothing to change: name what is to be different, such as --name")
    with _store(config, database) as store:
        key = store.update(key_id, changes, actor=_ACTOR)
    Console().print(f"{key.id} ({key.name}) is changed.", highlight=False)


@keys.command("rotate")
def rotate_key(
    key_id: KeyId,
    hours: Annotated[float, typer.Option("--overlap-hours", min=0, help="Hours that the old secret still works.")] = 24,
    config: options.Config = None,
    database: options.Database = None,
) -> None:
    """Give a key a new secret."""
    with _store(config, database) as store:
        _, text = store.rotate(key_id, overlap=hours * 3600, actor=_ACTOR)
    Console(stderr=True).print(f"Keep this key: it is not shown again. The old one works for {hours:g} hours more.")
    Console().print(text, highlight=False, soft_wrap=True)


@keys.command("revoke")
def revoke_key(key_id: KeyId, config: options.Config = None, database: options.Database = None) -> None:
    """End a key; every replica refuses it within two seconds."""
    with _store(config, database) as store:
        key = store.revoke(key_id, actor=_ACTOR)
    Console().print(f"{key.id} ({key.name}) is revoked.", highlight=False)


@tenants.command("create")
@options.with_limits
def create_tenant(
    name: Annotated[str, typer.Argument()],
    limits: dict[str, int],
    config: options.Config = None,
    database: options.Database = None,
) -> None:
    """Make a tenant; its limits are for all its keys together."""
    with _store(config, database) as store:
        tenant = store.create_tenant(name, limits=limits, actor=_ACTOR)
    Console().print(f"{tenant.name} has the id {tenant.id}.", highlight=False)


@tenants.command("update")
@options.with_limits
def update_tenant(
    tenant: Annotated[str, typer.Argument(help="Its name or id.")],
    limits: dict[str, int],
    name: Annotated[str | None, typer.Option("--name", help="A new name.", show_default=False)] = None,
    no_limits: options.NoLimits = False,
    config: options.Config = None,
    database: options.Database = None,
) -> None:
    """Change a tenant; limits that are given replace all of its limits."""
    if not (name or limits or no_limits):
        raise ConfigError("nothing to change: name what is to be different, such as --name")
    with _store(config, database) as store:
        changed = store.update_tenant(tenant, name=name, limits={} if no_limits else limits or None, actor=_ACTOR)
    Console().print(f"{changed.name} is changed.", highlight=False)


@tenants.command("list")
def list_tenants(config: options.Config = None, database: options.Database = None) -> None:
    """Show all tenants."""
    with _store(config, database) as store:
        listed = table("name", "id")
        for tenant in store.tenants():
            listed.add_row(tenant.name, tenant.id)
    show(listed)


@db.command("upgrade")
def upgrade(config: options.Config = None, database: options.Database = None) -> None:
    """Bring the tables to this version; processes that start together do it once."""
    from headrace.store.database import Database, default_url  # noqa: PLC0415

    settings = _settings(config, database)
    with closing(Database(settings.database or default_url(home()))) as store:
        store.upgrade()
    Console().print("The database has the tables of this version.")


@contextmanager
def _store(config: Path | None, database: str | None) -> Iterator[KeyStore]:
    from headrace.store.keys import KeyStore  # noqa: PLC0415  sqlalchemy is slow to import

    settings = _settings(config, database)
    new = not settings.database and not (home() / "headrace.db").exists()
    with closing(KeyStore.open(home(), database=settings.database, pepper=settings.pepper)) as store:
        if new:
            text = f"There was no key store in {home()}: this is a new one. HEADRACE_HOME names another place."
            Console(stderr=True).print(text, highlight=False, soft_wrap=True)
        yield store


def _settings(config: Path | None, database: str | None) -> ApiSettings:
    return load(ApiSettings, file=config, flags={"database": database})


def _tenant_id(store: KeyStore, name: str) -> str:
    tenants = {tenant.name: tenant.id for tenant in store.tenants()}
    if name not in tenants:
        known = ", ".join(sorted(tenants)) or "none yet: headrace tenants create NAME"
        raise ConfigError(f"there is no tenant {name!r}; tenants are {known}")
    return tenants[name]


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= time.time():
        return "expired"
    return "valid"
